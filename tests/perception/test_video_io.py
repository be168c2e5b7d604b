"""Videos are read back: number, rate, size, position of pixels; whole or marked partial."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.io.video_io import VideoWriter, even_sized


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
    with pytest.raises(ValueError, match="positive rate, got nan"):
        VideoWriter(tmp_path / "v.mp4", float("nan"))
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


def test_a_missing_codec_and_a_lost_file_are_errors(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "v.mp4", 25)
    writer.write(moving_square(0, 48, 96))
    monkeypatch.setattr("ood_seg.perception.io.video_io._frames_of", lambda path: 0)
    with pytest.raises(ValueError, match="is the disk full"):
        writer.close()

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
