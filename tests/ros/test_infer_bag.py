"""`ood-seg infer BAG --out BAG` hands over to the bags."""

from __future__ import annotations

import re
import sqlite3

import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image

pytest.importorskip("rosbags")
import bag_doubles

from ood_seg.apis import segmentors
from ood_seg.commands import main
from ood_seg.ros.images import array_of


@pytest.fixture
def bag(tmp_path):
    """Three images and one that is grey."""
    times = [bag_doubles.T0 + index * bag_doubles.PERIOD for index in range(4)]
    kinds = ["bgr8", "bgr8", "mono8", "bgr8"]
    messages = [
        (
            bag_doubles.CAMERA,
            "sensor_msgs/msg/Image",
            time,
            bag_doubles.image(random_image(), time, kind),
        )
        for time, kind in zip(times, kinds, strict=True)
    ]
    return bag_doubles.write_bag(tmp_path / "bag", messages)


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    """The fake segmentor instead of a model file."""
    monkeypatch.setattr(segmentors, "load_segmentor", lambda *_, **__: FakeSegmentor(min_area=1))


def infer(*arguments) -> int:
    return main(["infer", *map(str, arguments), "--onnx", "fake.onnx"])


def test_results_are_written_to_a_bag(bag, tmp_path, capsys):
    assert infer(bag, "--out", tmp_path / "out", "--topic", bag_doubles.CAMERA, "--track") == 1
    text = capsys.readouterr()
    assert f"3 of 4 images of {bag_doubles.CAMERA} written to {tmp_path / 'out'}" in text.out
    assert "mono8" in text.err
    results = bag_doubles.read_bag(tmp_path / "out")
    assert len(results["/ood_seg/labels"]) == 3
    assert len(results[bag_doubles.CAMERA]) == 4


def test_two_cameras_of_one_bag(tmp_path, capsys):
    messages = [
        (
            f"/{side}/image",
            "sensor_msgs/msg/Image",
            time,
            bag_doubles.image(random_image(seed), time),
        )
        for seed, side in enumerate(("left", "right"))
        for time in (bag_doubles.T0, bag_doubles.T0 + bag_doubles.PERIOD)
    ]
    bag = bag_doubles.write_bag(tmp_path / "bag", messages)
    one, both = tmp_path / "one", tmp_path / "both"
    assert infer(bag, "--out", one) == 2
    assert "/left/image, /right/image" in capsys.readouterr().err
    assert infer(bag, "--out", one, "--topic", "/left/image", "--namespace", "/left/ood") == 0
    assert infer(one, "--out", both, "--topic", "/right/image", "--namespace", "/left/ood") == 2
    assert re.search("/left/ood/.*--namespace", capsys.readouterr().err)
    assert infer(one, "--out", both, "--topic", "/right/image", "--namespace", "right/ood") == 0
    results = bag_doubles.read_results(both)
    for seed, side in enumerate(("left", "right")):
        assert len(results[f"/{side}/image"]) == 2
        for labels in results[f"/{side}/ood/labels"]:
            np.testing.assert_array_equal(
                array_of(labels.message), random_image(seed)[..., 1] >= 128
            )
    # Who reads the diagnostics can tell the cameras apart.
    told = [status.name for one in results["/diagnostics"] for status in one.message.status]
    sides = ("left", "left", "right", "right")
    assert sorted(told) == [f"{side}/ood: anomaly segmentation" for side in sides]


def test_selected_results_without_the_recording(bag, tmp_path):
    assert infer(bag, "--out", tmp_path / "out", "--outputs", "objects", "--no-copy") == 1
    topics = {"/ood_seg/objects", "/ood_seg/label_info", "/diagnostics"}
    assert set(bag_doubles.read_bag(tmp_path / "out")) == topics


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), sqlite3.OperationalError("disk is full")]
)
def test_a_full_disk_is_an_error(error, bag, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise error

    monkeypatch.setattr("rosbags.rosbag2.Writer.write", full)
    assert infer(bag, "--out", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "out") in message
    assert str(error) in message


def test_an_output_below_a_file_is_an_error(bag, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert infer(bag, "--out", tmp_path / "file" / "out") == 2
    assert re.search("bag .*out cannot be written: .*Not a directory", capsys.readouterr().err)


def test_options_that_do_not_apply_to_bags(bag, tmp_path, capsys, monkeypatch):
    def message(*arguments) -> str:
        assert infer(*arguments) == 2
        return capsys.readouterr().err

    assert "--out BAG" in message(bag, "--json", tmp_path / "r.jsonl")
    assert "only source" in message(bag, tmp_path, "--out", tmp_path / "o")
    for option in (
        ["--video-rate", "10"],
        ["--save", "mask"],
        ["--score-range", "0", "1"],
        ["--save-scores"],
        ["--json", "r.jsonl"],
        ["--video-out", "v.mp4"],
        ["--overwrite"],
        ["--skip-existing"],
        ["--resume"],
    ):
        assert f"{option[0]} does not apply" in message(bag, "--out", tmp_path / "o", *option)
    (tmp_path / "photos").mkdir()
    for option in (
        ["--topic", "/a"],
        ["--namespace", "/a"],
        ["--outputs", "labels"],
        ["--no-copy"],
    ):
        text = message(tmp_path / "photos", "--out", tmp_path / "o", *option)
        assert f"{option[0]} applies only to ROS bags, and {tmp_path / 'photos'}" in text
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes cannot write one bag"):
        infer(bag, "--out", tmp_path / "o")
