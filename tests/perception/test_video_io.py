"""Videos are read back: number, rate, size, position of pixels; whole or marked partial."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.io.video_io import VideoWriter, even_sized, frames_in, rate_like


def moving_square(index: int, height: int, width: int) -> np.ndarray:
    image = np.full((height, width, 3), 40, np.uint8)
    image[10:30, 5 + 2 * index : 25 + 2 * index] = (0, 0, 230)
    return image


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
@pytest.mark.parametrize(("height", "width"), [(48, 96), (49, 97)])
@pytest.mark.parametrize("rate", [25.0, 29.97, 7.5])
def test_read_back(suffix, height, width, rate, tmp_path):
    with VideoWriter(tmp_path / f"v{suffix}", rate) as writer:
        for index in range(12):
            writer.write(moving_square(index, height, width))
    assert [path.name for path in tmp_path.iterdir()] == [f"v{suffix}"]
    source = open_frames(tmp_path / f"v{suffix}")
    assert source.rate == pytest.approx(rate, abs=0.002)
    # Codecs know even sizes only.
    assert source.size == (height + height % 2, width + width % 2)
    frames = list(source)
    assert len(frames) == writer.written == 12
    for index, frame in enumerate(frames):
        wanted = moving_square(index, height, width).astype(int)
        found = frame.image[:height, :width].astype(int)
        assert np.abs(found - wanted).mean() < 6
        # A shift of one pixel would be seen: the square's centre stays within a quarter.
        red = (found[..., 2] > 130) & (found[..., 1] < 100)
        ys, xs = np.nonzero(red)
        assert ys.mean() == pytest.approx(19.5, abs=0.3)
        assert xs.mean() == pytest.approx(14.5 + 2 * index, abs=0.3)


def test_an_interrupted_video_is_partial_and_playable(tmp_path):
    def interrupted() -> None:
        with VideoWriter(tmp_path / "v.mp4", 25) as writer:
            for index in range(7):
                writer.write(moving_square(index, 48, 96))
            assert not (tmp_path / "v.mp4").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["v.partial.mp4"]
    assert len(list(open_frames(tmp_path / "v.partial.mp4"))) == 7


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"v\.gif: .*\.mp4"):
        VideoWriter(tmp_path / "v.gif", 25)
    for rate in (float("nan"), 0, -1, 90000, float("inf")):
        with pytest.raises(ValueError, match=rf"v\.mp4: .*0\.01 to 65535 .*got {rate}"):
            VideoWriter(tmp_path / "v.mp4", rate)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match=r"folder\.mp4: expected a file"):
        VideoWriter(tmp_path / "folder.mp4", 25, overwrite=True)
    (tmp_path / "v.mp4").touch()
    with pytest.raises(ValueError, match="exists"):
        VideoWriter(tmp_path / "v.mp4", 25)
    writer = VideoWriter(tmp_path / "v.mp4", 25, overwrite=True)
    writer.write(moving_square(0, 48, 96))
    with pytest.raises(ValueError, match=r"48x96 .* got 50x96"):
        writer.write(moving_square(0, 50, 96))
    assert writer.close() == tmp_path / "v.mp4"


def test_nothing_written_leaves_nothing(tmp_path):
    assert VideoWriter(tmp_path / "v.mp4", 25).close() is None
    assert list(tmp_path.iterdir()) == []


def test_a_missing_codec_is_an_error(tmp_path, monkeypatch):
    class NoCodec:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", NoCodec)
    with pytest.raises(ValueError, match=r"mp4v at rate 25\.0.*\.avi"):
        VideoWriter(tmp_path / "w.mp4", 25).write(moving_square(0, 48, 96))


def test_even_sized_repeats_the_border():
    image = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    even = even_sized(image)
    np.testing.assert_array_equal(even[:3, :5], image)
    np.testing.assert_array_equal(even[3], even[2])
    np.testing.assert_array_equal(even[:, 5], even[:, 4])
    assert even_sized(even) is even


def test_a_folder_that_is_not_writable_is_an_error(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        VideoWriter(tmp_path / "v.mp4", 25.0).write(moving_square(0, 48, 96))


@pytest.mark.parametrize(
    ("name", "rate", "written"),
    [
        ("v.mp4", 119.712, 119.71),  # 119712 / 1000 is too large a fraction for MPEG-4
        ("v.mov", 0.01, 0.01),
        ("v.mp4", 143.8573, 143.86),
        ("v.mkv", 1000, 1000),
        ("v.webm", 0.1, 0.1),
        ("v.avi", 600, 600),
    ],
)
def test_unusual_rates(name, rate, written, tmp_path):
    with VideoWriter(tmp_path / name, rate) as writer:
        for index in range(5):
            writer.write(moving_square(index, 48, 96))
    source = open_frames(tmp_path / name)
    assert writer.rate == written
    assert source.rate == pytest.approx(written, rel=1e-4)
    stamps = [frame.stamp for frame in source]
    np.testing.assert_allclose(stamps, np.arange(5) / written, rtol=1e-4, atol=0.0011)


def test_rates_of_sources_that_cannot_be_written():
    found = [rate_like("v.mp4", rate) for rate in (None, 90000.0, 29.97, 1e-5)]
    assert found == [25, 25, 29.97, 0.01]
    assert (rate_like("v.avi", 800), rate_like("v.mp4", 800)) == (25, 800)
    with pytest.raises(ValueError, match=r"v\.gif"):
        rate_like("v.gif", 25)


def test_one_process_writes_a_video(tmp_path):
    first = VideoWriter(tmp_path / "v.mp4", 25)
    for options in ({}, {"overwrite": True}):
        with pytest.raises(ValueError, match=rf"v\.mp4.*\({os.getpid()} on"):
            VideoWriter(tmp_path / "v.mp4", 25, **options)
    first.write(moving_square(0, 48, 96))
    assert first.close() == tmp_path / "v.mp4"
    assert first.close(complete=False) is None
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    VideoWriter(tmp_path / "v.mp4", 25, overwrite=True).close()


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    for name in (".v.mp4.lock", ".v.mp4.01234567.part.mp4"):
        (tmp_path / name).write_text("half")
    with VideoWriter(tmp_path / "v.mp4", 25) as writer:
        writer.write(moving_square(0, 48, 96))
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


# Writes 40 images of noise to a file that can have 100 kB.
FULL = """
import resource, sys
import numpy as np
from ood_seg.perception.io.video_io import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
noise = np.random.default_rng(0)
writer = VideoWriter(sys.argv[1], 25)
for _ in range(40):
    writer.write(noise.integers(0, 255, (120, 160, 3), dtype=np.uint8))
try:
    writer.close()
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"])
def test_images_that_do_not_arrive_in_the_file_are_missed(suffix, tmp_path):
    path = tmp_path / f"v{suffix}"
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = re.search(
        rf"v\{suffix}: 40 images were written, .*contains (\d+); is the disk", done.stdout
    )
    found, left = int(told[1]), [one.name for one in tmp_path.iterdir()]
    # MP4 and MOV have their index at the end, without which nothing can be read.
    assert left == ([f"v.partial{suffix}"] if found else [])
    assert found == 0 if suffix in (".mp4", ".mov", ".m4v") else 1 < found < 40
    if found:
        assert frames_in(tmp_path / left[0]) == found
        assert f"v.partial{suffix}" in done.stdout


def test_a_full_disk_ends_the_video_at_once(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "v.avi", 25)
    for index in range(3):
        writer.write(moving_square(index, 48, 96))
    full = os.statvfs_result((4096, 4096, 1000, 15, 15, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(OSError, match=r"No space left.*v\.avi"):
        writer.write(moving_square(3, 48, 96))
    assert writer.close(complete=False) == tmp_path / "v.partial.avi"
    assert frames_in(tmp_path / "v.partial.avi") == 3
    unknown = os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: unknown)
    with VideoWriter(tmp_path / "v.avi", 25) as again:
        again.write(moving_square(3, 48, 96))


def test_frames_are_counted_without_ffmpeg(tmp_path, monkeypatch):
    with VideoWriter(tmp_path / "v.avi", 25) as writer:
        for index in range(5):
            writer.write(moving_square(index, 48, 96))
    monkeypatch.setattr(cv2, "CAP_FFMPEG", cv2.CAP_AVFOUNDATION)  # not in this OpenCV
    assert frames_in(tmp_path / "v.avi") == 5


def test_frames_of_what_is_no_video(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video")
    assert frames_in(tmp_path / "v.mp4") == frames_in(tmp_path / "gone.mp4") == 0
