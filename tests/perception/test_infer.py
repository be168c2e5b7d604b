"""`infer` from Python, with a loaded model or a function that loads one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image

from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.io.shards import Shard
from ood_seg.perception.run.infer import InferenceSummary, infer


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{index}.png"), random_image(index))
    return tmp_path / "photos"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_image_is_analysed_in_the_calling_thread(photos, tmp_path):
    started = []

    class Watching(FakeSegmentor):
        def predict(self, images):
            started.append(threading.current_thread())
            return super().predict(images)

    summary = infer(photos / "1.png", Watching(), out=tmp_path / "one", save=["scores", "mask"])
    assert summary == InferenceSummary((str(tmp_path / "one"),), total=1, written=1)
    assert started == [threading.main_thread()]
    assert files_in(tmp_path / "one") == ["1_mask.png", "1_scores.npy"]
    # The same as among others, which are read while the model runs.
    infer(photos, Watching(), out=tmp_path / "all", save=["scores", "mask"])
    assert threading.main_thread() not in started[1:]
    for name in files_in(tmp_path / "one"):
        one, other = (tmp_path / folder / name for folder in ("one", "all"))
        assert one.read_bytes() == other.read_bytes()
    np.testing.assert_array_equal(
        np.load(tmp_path / "one" / "1_scores.npy"), np.float32(random_image(1)[..., 0]) / 255
    )


def test_one_image_with_a_tracker_is_a_stream(photos, tmp_path):
    """A tracker reports an object from its second frame on."""
    lines = tmp_path / "r.jsonl"
    for tracker, found in ((None, True), (InstanceTracker(), False)):
        infer(photos / "0.png", FakeSegmentor(), json=lines, tracker=tracker, existing="overwrite")
        record = json.loads(lines.read_text())
        assert bool(record["instances"]) == found
        assert list(record["latency"]) == ["decode", "predict", "judge", "total"]


def test_the_model_is_loaded_after_all_other_checks(photos, tmp_path):
    def load():
        raise AssertionError("was loaded")

    with pytest.raises(ValueError, match=r"existing: .*'replace'"):
        infer(photos, load, out=tmp_path / "o", existing="replace")
    with pytest.raises(ValueError, match=r"--max-pixels: .*0"):
        infer(photos, load, out=tmp_path / "o", max_pixels=0)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        infer(tmp_path / "nowhere", load, out=tmp_path / "o")
    infer(photos, FakeSegmentor, out=tmp_path / "o")
    with pytest.raises(ValueError, match=r"3 files exist .*0_overlay\.png"):
        infer(photos, load, out=tmp_path / "o")
    assert infer(photos, load, out=tmp_path / "o", existing="skip").total == 0


def test_failures_are_counted_and_printed(photos, tmp_path, capsys):
    (photos / "1.png").write_bytes(b"not an image")
    lines = tmp_path / "r.jsonl"
    summary = infer(photos, FakeSegmentor(), json=lines)
    assert (summary.total, summary.written, summary.failed) == (3, 2, 1)
    assert str(summary) == f"2 of 3 images written to {lines}"
    (message,) = capsys.readouterr().err.splitlines()
    assert str(photos / "1.png") in message
    cv2.imwrite(str(photos / "1.png"), random_image(1))
    summary = infer(photos, FakeSegmentor(), json=lines, existing="resume")
    assert (summary.total, summary.written, summary.failed) == (1, 1, 0)
    names = [json.loads(line)["name"] for line in lines.read_text().splitlines()]
    assert names == ["0", "2", "1"]


def test_a_resumed_run_has_its_lines_in_the_folder(photos, tmp_path):
    out = tmp_path / "out"
    infer([photos / "0.png", photos / "1.png"], FakeSegmentor(), out=out, existing="resume")
    assert len((out / "results.jsonl").read_text().splitlines()) == 2
    assert str(infer(photos, FakeSegmentor(), out=out, existing="resume")).startswith("1 of 1 ")
    assert "nothing to do" in str(infer(photos, FakeSegmentor(), out=out, existing="resume"))


def test_processes_share_the_images(photos, tmp_path):
    totals = []
    for rank in range(2):
        shard = Shard(rank, 2)
        totals.append(infer(photos, FakeSegmentor(), json=tmp_path / "r.jsonl", shard=shard).total)
    assert sum(totals) == 3
    lines = [line for path in tmp_path.glob("r.part-*-of-2.jsonl") for line in path.open()]
    assert sorted(json.loads(line)["name"] for line in lines) == ["0", "1", "2"]


def test_ctrl_c_keeps_what_is_written(photos, tmp_path):
    class Interrupted(FakeSegmentor):
        def result(self, frame, prediction, latency=None):
            if frame.name == "1":
                raise KeyboardInterrupt
            return super().result(frame, prediction, latency)

    summary = infer(photos, Interrupted(), json=tmp_path / "r.jsonl")
    assert (summary.interrupted, summary.written) == (True, 1)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 1
    assert "interrupted" in str(summary)
