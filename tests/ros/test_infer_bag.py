"""`ood-seg infer BAG --out BAG` hands over to the bags."""

from __future__ import annotations

import pytest
from fake_segmentor import FakeSegmentor, picture

pytest.importorskip("rosbags")
import bag_doubles

from ood_seg.commands import _infer_models, main


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
            bag_doubles.image(picture(), time, kind),
        )
        for time, kind in zip(times, kinds, strict=True)
    ]
    return bag_doubles.write_bag(tmp_path / "bag", messages)


def infer(*arguments) -> int:
    return main(["infer", *map(str, arguments), "--onnx", "fake.onnx"])


def test_results_go_into_a_bag(bag, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_infer_models, "build", lambda args, shard: FakeSegmentor(min_area=1))
    assert infer(bag, "--out", tmp_path / "out", "--topic", bag_doubles.CAMERA, "--track") == 1
    text = capsys.readouterr()
    assert f"3 of 4 images of {bag_doubles.CAMERA} written to {tmp_path / 'out'}" in text.out
    assert "mono8" in text.err
    results = bag_doubles.read_bag(tmp_path / "out")
    assert len(results["/ood_seg/labels"]) == 3
    assert len(results[bag_doubles.CAMERA]) == 4


def test_what_does_not_go_with_a_bag(bag, tmp_path, capsys, monkeypatch):
    def message(*arguments) -> str:
        assert infer(*arguments) == 2
        return capsys.readouterr().err

    assert "give it --out BAG" in message(bag, "--json", tmp_path / "r.jsonl")
    assert "analysed alone" in message(bag, tmp_path, "--out", tmp_path / "o")
    assert "--save is not for bags" in message(bag, "--out", tmp_path / "o", "--save", "mask")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process writes a bag"):
        infer(bag, "--out", tmp_path / "o")
