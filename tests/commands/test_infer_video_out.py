"""`ood-seg infer --video-out` in processes of its own: two at once, kills, rates, what fails."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time

import cv2
import numpy as np
import pytest
from fake_segmentor import random_image
from infer_process import finish, start

from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.io.video_io import frames_in, rate_like


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(8):
        cv2.imwrite(str(folder / f"{index}.png"), random_image(index, 48, 64))
    return folder


def hanging(tmp_path, *arguments):
    """A process that has written three images and goes on for ever."""
    lines = tmp_path / "hanging.jsonl"
    process = start(*arguments, "--json", lines, environment={"FAKE_MOST": "3"})
    while not lines.exists() or lines.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_second_process_with_one_video_is_refused_until_the_first_is_gone(
    suffix, photos, tmp_path
):
    video = tmp_path / "out" / f"v.{suffix}"
    first = hanging(tmp_path, photos, "--video-out", video)
    try:
        for options in ((), ("--overwrite",)):
            code, _, err = finish(photos, "--video-out", video, *options)
            assert (code, "Traceback" in err) == (2, False)
            assert f"v.{suffix} is being written by another process ({first.pid} on " in err
    finally:
        first.kill()
        first.communicate()
    assert not video.exists()
    assert len(list(video.parent.iterdir())) == 2  # the lock and the unfinished video
    code, _, err = finish(photos, "--video-out", video)
    assert code == 0, err
    assert list(video.parent.iterdir()) == [video]
    assert frames_in(video) == 8


def test_a_chosen_rate_and_one_that_cannot_be_written(tmp_path):
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 20, (64, 48))
    for index in range(8):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    code, text, err = finish(clip, "--video-out", tmp_path / "half.mp4", "--video-rate", 10)
    assert code == 0, err
    assert "8 of 8 images" in text
    assert "; 4 are not in the video" in text
    half = list(open_frames(tmp_path / "half.mp4"))
    assert [frame.stamp for frame in half] == pytest.approx([0, 0.1, 0.2, 0.3])
    # A source that states the rate of its clock.
    fast = tmp_path / "fast.webm"
    writer = cv2.VideoWriter(str(fast), cv2.VideoWriter.fourcc(*"VP80"), 90000, (64, 48))
    for index in range(8):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    assert open_frames(fast).rate > 1000
    assert rate_like("slow.mp4", open_frames(fast).rate) == 25
    code, _, err = finish(fast, "--video-out", tmp_path / "slow.mp4")
    assert code == 0, err
    slow = open_frames(tmp_path / "slow.mp4")
    assert (slow.rate, len(list(slow))) == (25, 8)
    code, _, err = finish(clip, "--video-out", tmp_path / "x.mp4", "--video-rate", 90000)
    assert (code, "got 90000" in err, "Traceback" in err) == (2, True, False)
    code, _, err = finish(clip, "--json", tmp_path / "x.jsonl", "--video-rate", 10)
    assert (code, "--video-out FILE" in err) == (2, True)


def test_videos_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = finish(photos, "--video-out", tmp_path / "file" / "v.mp4")
    assert (code, "v.mp4: cannot be written (Not a directory)" in err) == (2, True), err
    (tmp_path / "v.mp4").mkdir()
    code, _, err = finish(photos, "--video-out", tmp_path / "v.mp4", "--overwrite")
    assert (code, "expected a file" in err) == (2, True)
    for length in (240, 260):  # the hidden name is longer
        code, _, err = finish(photos, "--video-out", tmp_path / ("a" * length + ".mp4"))
        assert (code, "File name too long" in err, "Traceback" in err) == (2, True, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "photos", "v.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_processes_that_start_at_once_one_writes_the_video(suffix, photos, tmp_path):
    for attempt in range(5):
        video = tmp_path / str(attempt) / f"v.{suffix}"
        processes = [start(photos, "--video-out", video, seconds=0.05) for _ in range(4)]
        ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
        assert sorted(code for _, code in ended) == [0, 2, 2, 2]
        for (_, err), code in ended:
            assert code == 0 or "is being written by" in err or f"v.{suffix} exists" in err, err
        assert list(video.parent.iterdir()) == [video]
        assert frames_in(video) == 8


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "webm"])
def test_kills_at_random_moments_of_a_video(suffix, photos, tmp_path):
    rng = random.Random(suffix)
    video = tmp_path / "out" / f"v.{suffix}"
    for _ in range(10):
        process = start(photos, "--video-out", video, "--overwrite", seconds=0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.1, 2.5))
        process.kill()
        process.communicate()
        assert not video.exists() or frames_in(video) == 8
    code, _, err = finish(photos, "--video-out", video, "--overwrite")
    assert code == 0, err
    assert list(video.parent.iterdir()) == [video]
    assert frames_in(video) == 8
