"""Videos written at the rate and size of the images."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

# Codecs of the OpenCV wheels, which lack H.264.
_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_CODECS[".webm"] = "VP80"


class VideoWriter:
    """Writes images of one size as a video, which appears complete or is marked as partial.

    Until `close` the file has a hidden name. If a `with` block ends with an error or Ctrl-C, the
    video is named `NAME.partial.mp4` and is playable. The codecs require even sizes: an odd width
    or height is extended by repeating the last column or row, so that all pixels keep their place.

    Args:
        path: the suffix selects container and codec.
        rate: images per second.
        overwrite: whether an existing file is replaced.

    Attributes:
        written: number of images so far.

    Raises:
        ValueError: another suffix, a rate that is not positive, or the file exists.
    """

    def __init__(self, path: str | Path, rate: float, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._codec = _CODECS.get(self.path.suffix.lower(), "")
        if not self._codec:
            known = ", ".join(_CODECS)
            raise ValueError(f"video {path}: expected one of the suffixes {known}")
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"video {path}: expected a positive rate, got {rate}")
        if self.path.exists() and not overwrite:
            raise ValueError(f"video {path} exists; give another name, or --overwrite")
        self.written = 0
        self._rate = float(rate)
        self._unfinished = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, image: np.ndarray) -> None:
        """Add an image, `(H, W, 3)` uint8 BGR.

        Raises:
            ValueError: another size than that of the first image, or OpenCV cannot write the video.
        """
        if self._writer is None:
            self._writer, self._shape = self._open(image), image.shape
        if image.shape != self._shape:
            raise ValueError(
                f"video {self.path}: expected images of {_size(self._shape)} (height x width), got "
                f"{_size(image.shape)}; images of several sizes can be saved as files"
            )
        self._writer.write(even_sized(image))
        self.written += 1

    def _open(self, image: np.ndarray) -> cv2.VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished.touch()  # its error has a reason, that of OpenCV has none
        height, width = even_sized(image).shape[:2]
        code = cv2.VideoWriter.fourcc(*self._codec)
        writer = cv2.VideoWriter(str(self._unfinished), code, self._rate, (width, height))
        if not writer.isOpened():
            self._unfinished.unlink()
            raise ValueError(
                f"video {self.path}: this OpenCV cannot write {self._codec} at rate {self._rate}; "
                "use the suffix .avi, or install an OpenCV with FFmpeg"
            )
        return writer

    def close(self, *, complete: bool = True) -> Path | None:
        """Finish the file and return its path; None if nothing was written.

        Args:
            complete: False marks the video as partial.

        Raises:
            ValueError: the written file cannot be read.
        """
        if self._writer is None:
            return None
        self._writer.release()
        self._writer = None
        frames = _frames_of(self._unfinished)
        if not frames:
            raise ValueError(
                f"video {self.path}: {self.written} images were written, but {self._unfinished} "
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


def even_sized(image: np.ndarray) -> np.ndarray:
    """The image, with the last row or column repeated where their number is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _frames_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:2]))
