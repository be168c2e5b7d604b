"""Videos written with the rate and size of the pictures that go in."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

# What OpenCV's own builds can encode: H.264 is not among it.
_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_CODECS[".webm"] = "VP80"


class VideoWriter:
    """Writes pictures of one size as a video that appears complete or is marked partial.

    While it is written it has a hidden name. `close` gives it its own; where the block of a `with`
    ends by an error or Ctrl-C, it becomes `NAME.partial.mp4`, just as playable. An odd width or
    height, which the codecs do not know, is made even by one repeated column or row at the right
    or lower border: all pixels stay where they are.

    Args:
        path: its suffix chooses container and codec.
        rate: pictures per second.
        overwrite: whether an existing file is replaced.

    Attributes:
        written: pictures so far.

    Raises:
        ValueError: another suffix, a rate that is not positive, or the file exists.
    """

    def __init__(self, path: str | Path, rate: float, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._codec = _CODECS.get(self.path.suffix.lower(), "")
        if not self._codec:
            known = ", ".join(_CODECS)
            raise ValueError(f"video {path}: expected a name that ends in {known}")
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"video {path}: expected a positive rate, got {rate}")
        if self.path.exists() and not overwrite:
            raise ValueError(f"video {path} exists; give another name, or say that it be replaced")
        self.written = 0
        self._rate = float(rate)
        self._unfinished = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, picture: np.ndarray) -> None:
        """Add a picture, `(H, W, 3)` uint8 BGR.

        Raises:
            ValueError: another size than the first one's, or OpenCV cannot write the video.
        """
        if self._writer is None:
            self._writer, self._shape = self._open(picture), picture.shape
        if picture.shape != self._shape:
            raise ValueError(
                f"video {self.path}: its pictures are {_size(self._shape)} (height x width), got "
                f"one of {_size(picture.shape)}; write pictures of several sizes to files"
            )
        self._writer.write(even_sized(picture))
        self.written += 1

    def _open(self, picture: np.ndarray) -> cv2.VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished.touch()  # says why it cannot be written, where OpenCV only says no
        height, width = even_sized(picture).shape[:2]
        code = cv2.VideoWriter_fourcc(*self._codec)
        writer = cv2.VideoWriter(str(self._unfinished), code, self._rate, (width, height))
        if not writer.isOpened():
            self._unfinished.unlink()
            raise ValueError(
                f"video {self.path}: this OpenCV cannot write {self._codec} at rate {self._rate}; "
                "try a name that ends in .avi, or install opencv-python with FFmpeg"
            )
        return writer

    def close(self, *, complete: bool = True) -> Path | None:
        """Finish the file; None if nothing was written.

        Args:
            complete: False marks it partial.

        Raises:
            ValueError: what was written cannot be read again.
        """
        if self._writer is None:
            return None
        self._writer.release()
        self._writer = None
        frames = _frames_of(self._unfinished)
        if not frames:
            raise ValueError(
                f"video {self.path}: {self.written} pictures were written, but {self._unfinished} "
                "cannot be read; is the disk full?"
            )
        partial = self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")
        target = self.path if complete else partial
        os.replace(self._unfinished, target)
        return target

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(complete=kind is None)


def even_sized(picture: np.ndarray) -> np.ndarray:
    """The picture with its last row or column repeated where their number is odd."""
    height, width = picture.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return picture
    return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _frames_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:2]))
