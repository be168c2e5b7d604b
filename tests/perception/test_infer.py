"""`infer` from Python, with a loaded model or a function that loads one."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image

from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.listings import walk_folder
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
    assert files_in(tmp_path / "one") == ["1_mask.png", "1_scores.npy", "provenance.json"]
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
    # The same failure is not met again unless asked for.
    summary = infer(photos, FakeSegmentor(), json=lines, existing="resume")
    assert (summary.total, summary.written, summary.failed, summary.failed_before) == (0, 0, 0, 1)
    assert re.search("other images.* 1 failed .*--retry-failed", str(summary))
    with pytest.raises(ValueError, match=r"--retry-failed: .*--resume"):
        infer(photos, FakeSegmentor(), json=lines, retry_failed=True)
    summary = infer(photos, FakeSegmentor(), json=lines, existing="resume", retry_failed=True)
    assert (summary.total, summary.written, summary.failed, summary.failed_before) == (1, 1, 0, 0)
    names = [json.loads(line)["name"] for line in lines.read_text().splitlines()]
    assert names == ["0", "2", "1"]


@pytest.mark.parametrize(
    "error", [cv2.error("assertion failed"), MemoryError(), IsADirectoryError(21, "Is a directory")]
)
def test_an_image_whose_files_cannot_be_made_fails_alone(error, photos, tmp_path, monkeypatch):
    def overlay(result, **options):
        if result.name == "1":
            raise error
        return result.image

    monkeypatch.setattr("ood_seg.perception.core.result.AnomalyResult.overlay", overlay)
    lines = tmp_path / "r.jsonl"
    summary = infer(photos, FakeSegmentor(), out=tmp_path / "o", json=lines)
    assert (summary.written, summary.failed) == (2, 1)
    assert files_in(tmp_path / "o") == ["0_overlay.png", "2_overlay.png"]
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(one["name"], "error" in one) for one in records] == [
        ("0", False),
        ("1", True),
        ("2", False),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_ends_the_run(code, photos, tmp_path, monkeypatch):
    def write(path, image):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("ood_seg.perception.core.result.write_image", write)
    with pytest.raises(ValueError, match=rf"cannot write: .*{os.strerror(code)}.*0_overlay\.png"):
        infer(photos, FakeSegmentor(), out=tmp_path / "o", json=tmp_path / "r.jsonl")
    # The image has no line, so a resumed run analyses it.
    assert not (tmp_path / "r.jsonl").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_the_model(photos):
    def load():
        raise AssertionError("was loaded")

    for folder in ("/proc/new", "/dev/null/new"):  # also for root, who may write anywhere else
        with pytest.raises(ValueError, match=rf"--out {folder}: cannot be written"):
            infer(photos, load, out=folder)


def test_failures_name_their_image_and_file():
    error = OSError(errno.ENOENT, "No such file", "/x/12.png")
    assert str(Failure.of(error, "2", 7)) == "2: No such file: /x/12.png"
    assert str(Failure.of(error, "12", 7)) == "No such file: /x/12.png"
    assert str(Failure("a[1]", "image a[1].png: cut")) == "image a[1].png: cut"


def test_a_lost_gpu_ends_the_run_and_keeps_what_is_written(photos, tmp_path):
    class Lost(FakeSegmentor):
        def predict(self, images):
            if len(self.batches) == 1:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return super().predict(images)

    lines = tmp_path / "r.jsonl"
    with pytest.raises(ValueError, match=r"no further image .*device-side assert.* 1 images"):
        infer(photos, Lost(), json=lines)
    assert infer(photos, FakeSegmentor(), json=lines, existing="resume").written == 2


def test_a_folder_of_links_to_themselves_and_other_files(photos, tmp_path, capsys):
    (photos / "loop.png").symlink_to("loop.png")
    (photos / "again").symlink_to("again")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    (photos / "up").symlink_to("..")
    for name in ("a.heic", "b.HEIC", "drive.mp4", "LICENCE"):
        (photos / name).touch()
    summary = infer(photos, FakeSegmentor(), json=tmp_path / "r.jsonl")
    assert (summary.total, summary.written, summary.failed) == (5, 3, 2)
    notice, *failures = capsys.readouterr().err.splitlines()
    assert notice.endswith(": 2 without suffix, 2 .heic, 1 .mp4")
    assert sorted(re.search(r"(\w+\.\w+) does not exist", one)[1] for one in failures) == [
        "gone.jpg",
        "loop.png",
    ]


def test_a_folder_that_cannot_be_searched_fails_alone(photos, tmp_path, monkeypatch):
    (photos / "sub").mkdir()
    cv2.imwrite(str(photos / "sub" / "3.png"), random_image(3))
    (photos / "shut").mkdir()
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    lines = tmp_path / "r.jsonl"
    summary = infer(photos, FakeSegmentor(), json=lines)
    assert (summary.written, summary.failed) == (4, 1)
    (failure,) = [one for one in map(json.loads, lines.read_text().splitlines()) if "error" in one]
    assert failure["name"] == "shut"
    assert re.search(rf"Permission denied.*{re.escape(str(photos / 'shut'))}", failure["error"])


def test_folders_nested_beyond_the_recursion_limit(tmp_path):
    deepest = tmp_path.joinpath(*["d"] * 200)
    deepest.mkdir(parents=True)
    cv2.imwrite(str(deepest / "0.png"), random_image(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        (entry,) = walk_folder(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert entry.image == str(deepest / "0.png")


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


@pytest.mark.parametrize("shard", [Shard(0, 1), Shard(0, 2)])
def test_a_resumed_run_of_one_process_removes_what_killed_ones_have_left(shard, photos, tmp_path):
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    left = [out / ".0_mask.png.0123abcd.part", out / "deep" / ".1_mask.png.89ef0123.part"]
    for path in left:
        path.write_bytes(b"half")
    infer(photos, FakeSegmentor(), out=out, save=["mask"], existing="resume", shard=shard)
    # Other processes may be at work on the same folder.
    assert [path.exists() for path in left] == [shard.world > 1] * 2
