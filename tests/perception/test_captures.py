"""Videos, cameras, streams and URLs as frames: stamps, reconnection, failures, passwords."""

from __future__ import annotations

import http.server
import math
import os
import re
import threading

import cv2
import numpy as np
import pytest
from fake_segmentor import random_image
from frame_files import write, write_uneven_video, write_video

from ood_seg.perception.core.types import Failure, Frame
from ood_seg.perception.io.captures import (
    LiveSource,
    next_stamp,
    plausible_rate,
    stream_name,
    usual_rate,
)
from ood_seg.perception.io.frames import open_frames


def test_video_has_stamps_from_its_rate(tmp_path):
    source = open_frames(write_video(tmp_path / "clip.avi", 10, rate=12.5))
    assert (source.count, source.rate, source.size, source.live) == (10, 12.5, (48, 64), False)
    frames = list(source)
    assert [frame.name for frame in frames[:2]] == ["clip/000000", "clip/000001"]
    np.testing.assert_allclose([frame.stamp for frame in frames], np.arange(10) / 12.5)
    # Frame k was painted 8 k: none is lost, none comes twice.
    values = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(values, 8 * np.arange(10), atol=2)
    skipped = open_frames(tmp_path / "clip.avi", wanted=lambda name: name != "clip")
    assert list(skipped) == []


def test_truncated_video_ends_with_a_failure(tmp_path):
    path = tmp_path / "clip.mkv"  # its header tells the length, unlike MP4's, which comes last
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (64, 48))
    for index in range(30):
        writer.write(random_image(index, 48, 64))
    writer.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = open_frames(path)
    assert source.count is None  # not stated there
    *frames, last = source
    assert 5 < len(frames) < 20
    assert isinstance(last, Failure)
    end = f"{frames[-1].stamp:.2f} of 1.20 seconds"
    assert f"ends after {len(frames)} frames, {end}" in last.message


# Five frames at 30 per second, then pauses of a second.
UNEVEN = [0, 0.033, 0.067, 0.1, 0.133, 1.133, 1.167, 1.2, 2.2, 3.2, 4.2, 5.2]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_uneven_frames_have_their_own_times(suffix, tmp_path):
    source = open_frames(write_uneven_video(tmp_path / f"clip{suffix}", UNEVEN))
    assert source.count in (len(UNEVEN), None)
    frames = list(source)
    assert [type(frame) for frame in frames] == [Frame] * len(UNEVEN)
    np.testing.assert_allclose([frame.stamp for frame in frames], UNEVEN, atol=1e-9)
    values = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(values, 8 * np.arange(12), atol=2)


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_uneven_videos_of_other_programs(suffix):
    folder = os.environ.get("OOD_SEG_CASES")
    if folder is None:
        pytest.skip("OOD_SEG_CASES is not set")
    frames = list(open_frames(f"{folder}/video/vfr.{suffix}"))
    assert [type(frame) for frame in frames] == [Frame] * 12
    np.testing.assert_allclose([frame.stamp for frame in frames], UNEVEN, atol=0.0011)


def test_rounded_times_of_a_constant_rate_are_exact(tmp_path):
    """Matroska rounds 1/30 s to 33 ms."""
    path = tmp_path / "clip.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (64, 48))
    for index in range(7):
        writer.write(random_image(index, 48, 64))
    writer.release()
    assert [frame.stamp for frame in open_frames(path)] == [index / 30 for index in range(7)]


@pytest.mark.parametrize(
    ("stated", "usual", "expected"),
    [
        (30.0, 30.3, 30),  # milliseconds
        (29.97, 25.0, 29.97),
        (3.637, 29.4, 29.4),  # an average over long pauses
        (30.0, 1.0, 30),  # a pause in the beginning
        (1000.0, 30.0, 30),  # the clock of a browser
        (90000.0, None, 90000),
        (500.0, 500.0, 500),
        (400.0, 500.0, 400),  # milliseconds again
        (None, 25.0, 25),
        (None, None, None),
    ],
)
def test_the_rate_of_a_video(stated, usual, expected):
    assert plausible_rate(stated, usual) == expected


def test_the_usual_rate_is_measured(tmp_path):
    path = write_uneven_video(tmp_path / "clip.mkv", UNEVEN)
    source = open_frames(path)
    assert usual_rate(str(path)) == source.rate == pytest.approx(30, rel=0.03)
    (tmp_path / "none.mp4").write_bytes(b"no video")
    assert usual_rate(str(tmp_path / "none.mp4")) is None
    assert usual_rate("rtsp://camera/1") is None


def ends(path):
    """Number of frames of a video, and the message of its failure; None without one."""
    outcomes = list(open_frames(path))
    failures = [one.message for one in outcomes if isinstance(one, Failure)]
    return len(outcomes) - len(failures), *(failures or [None])


def test_truncation_is_judged_by_time_and_the_longest_pause(tmp_path):
    path = write_uneven_video(tmp_path / "clip.mkv", UNEVEN)
    assert ends(path) == (12, None)
    content = path.read_bytes()
    # Cut behind the frames at 1.2 s, of which the longest before is one second.
    path.write_bytes(content[: content.index(cv2.imencode(".jpg", paint(8))[1].tobytes())])
    frames, message = ends(path)
    assert frames == 8
    assert "8 frames, 1.20 of 5.2" in message
    # A whole file, of which the last frame is shown as long as the one before it.
    pauses = write_uneven_video(tmp_path / "pauses.mkv", [0, 0.04, 0.08, 2.08, 4.08])
    assert ends(pauses) == (5, None)


def paint(index):
    """Frame of `write_uneven_video`."""
    return np.full((48, 64, 3), 8 * index, np.uint8)


@pytest.mark.parametrize(
    ("shown", "rate", "expected"),
    [
        ([0, 0.04, 0.08], 25.0, [0, 0.04, 0.08]),
        ([0, 0, 0], 25.0, [0, 0.04, 0.08]),  # unknown
        ([0, math.nan, math.inf], 25.0, [0, 0.04, 0.08]),
        ([0, 0, 0], None, [0, None, None]),
        ([0, 0.5, 0.7], None, [0, 0.5, 0.7]),
        ([0, 1, 0.2, 0.3, 2], 10.0, [0, 1, 1.1, 1.2, 2]),  # the clock of the container falls back
        ([0.4, 0.5], 10.0, [0.4, 0.5]),
        ([-1, 0.5], 10.0, [0, 0.5]),
        ([0, 0.0334, 0.2996], 30.0, [0, 1 / 30, 0.2996]),
    ],
)
def test_times_rise_whatever_the_container_states(shown, rate, expected):
    found = [None]
    for index, time in enumerate(shown):
        found.append(next_stamp(found[-1], time, index, rate))
    assert found[1:] == pytest.approx(expected, abs=1e-12)


class Camera:
    """Stands in for OpenCV's capture: each opening gives the next of `runs` frames."""

    def __init__(self, runs: list[int]) -> None:
        self.runs, self.opened, self.released = list(runs), 0, 0

    def __call__(self, address):
        self.left = self.runs.pop(0) if self.runs else -1
        self.opened += 1
        return self

    def isOpened(self) -> bool:
        return self.left >= 0

    def get(self, _):
        return 0.0

    def read(self):
        self.left -= 1
        return (True, random_image()) if self.left >= 0 else (False, None)

    def release(self):
        self.released += 1


def test_a_camera_that_stops_is_reopened_a_few_times():
    camera = Camera([2, 0, 3])
    source = LiveSource(0, "camera0", reconnects=3, wait=0.001, capture=camera)
    assert source.live
    assert source.count is None
    *frames, last = source
    assert [frame.name for frame in frames] == [f"camera0/00000{index}" for index in range(5)]
    assert frames[0].stamp > 1.6e9
    assert isinstance(last, Failure)
    assert last.name == "camera 0"
    assert re.search("5 frames.* 3 times", last.message)
    # Two tries after the first stop, of which the second succeeded; three after the second.
    assert camera.opened == 1 + 2 + 3
    assert camera.released >= 5


def test_a_missing_camera():
    with pytest.raises(ValueError, match="camera 3: cannot be opened"):
        LiveSource(3, "camera3", capture=Camera([]))


def test_closing_ends_the_wait_for_a_camera():
    source = LiveSource(0, "camera0", wait=60, capture=Camera([1]))
    iterator = iter(source)
    next(iterator)
    threading.Timer(0.2, source.close).start()
    assert list(iterator) == []


@pytest.fixture
def server(tmp_path):
    """Serves the files of `tmp_path` on loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def do_GET(self):
            if self.path == "/camera.mjpeg":
                self.send_camera()
            else:
                super().do_GET()

        def send_camera(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for index in range(20):
                content = cv2.imencode(".jpg", np.full((48, 64, 3), 10 * index, np.uint8))[1]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
                self.wfile.write(f"{head}\r\n\r\n".encode() + content.tobytes() + b"\r\n")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_images_and_videos_at_urls(server, tmp_path):
    write(tmp_path / "street.png")
    write_video(tmp_path / "drive.avi", 4)
    (frame,) = open_frames(f"{server}/street.png")
    assert frame.name == "127.0.0.1/street"
    np.testing.assert_array_equal(frame.image, random_image())
    (failure,) = open_frames(f"{server}/gone.png")
    assert "cannot be fetched (HTTP Error 404" in failure.message
    (failure,) = open_frames(f"{server}/street.png", max_pixels=10)
    assert "more than 80 bytes" in failure.message
    (failure,) = open_frames(f"{server}/street.png", max_pixels=37 * 53 - 1)
    assert "53x37 pixels are more than the allowed 1960" in failure.message
    video = open_frames(f"{server}/drive.avi")
    assert (video.count, video.live) == (4, False)
    assert len(list(video)) == 4
    with pytest.raises(ValueError, match="cannot be opened"):
        open_frames(f"{server}/gone.mjpeg")


def test_a_stream_over_http_that_stops(server):
    source = open_frames(f"{server}/camera.mjpeg")
    assert isinstance(source, LiveSource)
    source._reconnects, source._wait = 1, 0.01
    with source:
        iterator = iter(source)
        images = [next(iterator).image for _ in range(15)]
        means = [image.mean() for image in images]
        np.testing.assert_allclose(np.diff(means), 10, atol=2)
    # Closed, it ends with the frame that comes next at the latest.
    assert len(list(iterator)) <= 1


def test_passwords_are_not_shown():
    assert stream_name("rtsp://me:secret@cam.local:554/left?token=1") == "cam.local/left"
    with pytest.raises(ValueError, match=r"rtsp://\.\.\.@cam/left: cannot") as raised:
        LiveSource("rtsp://me:secret@cam/left", "cam", capture=Camera([]))
    assert "secret" not in str(raised.value)


def test_malformed_addresses_are_failures():
    urls = ["http://me:secret@cam/a.png", "http://a cam/a.png", "http://[cam/a.png"]
    outcomes = list(open_frames([*urls, random_image()]))
    assert [type(one) for one in outcomes] == [Failure] * 3 + [Frame]
    assert "http://...@cam/a.png: " in outcomes[0].message
    assert "secret" not in outcomes[0].message
    assert "http://a cam/a.png: cannot be fetched" in outcomes[1].message
