"""Videos written at a constant rate; frames that are not evenly spaced keep their times."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from pathlib import Path

import cv2
import numpy as np

from ood_seg.io.files import claimed, unfinished_path

# Codecs of the OpenCV wheels, which lack H.264.
_CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_CODECS[".webm"] = "VP80"
# OpenCV states a rate with up to three decimals, as a fraction whose numerator has 16 bits in
# MPEG-4.
_DECIMALS, _MAX_NUMERATOR = 3, 65535
# Matroska has milliseconds; above and below these rates OpenCV loses frames of AVI and WebM.
_RATES = {".mkv": (0.01, 1000.0), ".webm": (0.1, 1000.0), ".avi": (0.01, 600.0)}
_OTHER_RATES = (0.01, float(_MAX_NUMERATOR))
DEFAULT_RATE = 25.0
# A source that states a higher rate means its clock.
_MAX_SOURCE_RATE = 1000.0
# Bytes that FFmpeg holds back; with fewer on the disk it drops images without an error.
_LEAST_SPACE = 65536


class VideoWriter:
    """Writes images of one size as a video, which appears complete or is marked as partial.

    Until `close` the file has a hidden name, and no other process can write the same video. If a
    `with` block ends with an error or Ctrl-C, the video is named `NAME.partial.mp4` and is
    playable. The codecs require even sizes: an odd width or height is extended by repeating the
    last column or row, so that all pixels keep their place.

    Args:
        path: the suffix selects container and codec.
        rate: images per second, see `writable_rates`.
        overwrite: whether an existing file is replaced.

    Attributes:
        rate: as written, rounded to what the containers can state.
        written: number of images so far.

    Raises:
        ValueError: another suffix, a rate that cannot be written, the file exists, or another
            process writes it.
        OSError: the folder cannot be written.
    """

    def __init__(self, path: str | Path, rate: float, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        lowest, highest = writable_rates(self.path)
        if not lowest <= rate <= highest:
            raise ValueError(
                f"video {path}: expected a positive rate of {lowest:g} to {highest:g} images per "
                f"second, got {rate}"
            )
        if self.path.is_dir():
            raise ValueError(f"video {path}: expected a file, got a folder")
        self.written = 0
        decimals = min(_DECIMALS, int(math.log10(_MAX_NUMERATOR / max(rate, 1.0))))
        self.rate = round(float(rate), decimals)
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()
        with contextlib.ExitStack() as stack:
            stack.enter_context(claimed(self.path))
            if self.path.exists() and not overwrite:
                raise ValueError(f"video {path} exists; give another name, or --overwrite")
            hidden = unfinished_path(self.path)
            self._unfinished = hidden.with_name(hidden.name + self.path.suffix)
            self._unfinished.touch()  # its error has a reason, that of OpenCV has none
            self._claim = stack.pop_all()

    def write(self, image: np.ndarray) -> None:
        """Add an image, `(H, W, 3)` uint8 BGR.

        Raises:
            ValueError: another size than that of the first image, or OpenCV cannot write the video.
            OSError: the disk is full.
        """
        _check_space(self.path)
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
        height, width = even_sized(image).shape[:2]
        codec = _CODECS[self.path.suffix.lower()]
        code = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(self._unfinished), code, self.rate, (width, height))
        if not writer.isOpened():
            raise ValueError(
                f"video {self.path}: this OpenCV cannot write {codec} at rate {self.rate}; "
                "use the suffix .avi, or install an OpenCV with FFmpeg"
            )
        return writer

    def close(self, *, complete: bool = True) -> Path | None:
        """Finish the file and return its path; None if nothing was written, or if it is closed.

        Args:
            complete: False marks the video as partial.

        Raises:
            ValueError: the file contains fewer images than were written, such as on a full disk. It
                is marked as partial if it contains any.
        """
        with self._claim:
            if self._writer is None:
                self._unfinished.unlink(missing_ok=True)
                return None
            self._writer.release()
            self._writer = None
            found = frames_in(self._unfinished)
            partial = self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")
            target = self.path if complete and found == self.written else partial
            if found:
                os.replace(self._unfinished, target)
            else:
                self._unfinished.unlink(missing_ok=True)
            if found != self.written:
                raise ValueError(
                    f"video {self.path}: {self.written} images were written, but the file contains "
                    f"{found}; is the disk full?"
                    + (f" They are kept in {partial}" if found else "")
                )
            return target

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(complete=kind is None)


def _check_space(path: Path) -> None:
    if not hasattr(os, "statvfs"):  # Windows
        return
    disk = os.statvfs(path.parent)
    blocks = disk.f_bavail if os.geteuid() else disk.f_bfree
    if disk.f_blocks and blocks * disk.f_frsize < _LEAST_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def writable_rates(path: str | Path) -> tuple[float, float]:
    """Return the lowest and the highest rate, in images per second, of a video of this suffix.

    Raises:
        ValueError: the suffix is not that of a video that can be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _CODECS:
        raise ValueError(f"video {path}: expected one of the suffixes {', '.join(_CODECS)}")
    return _RATES.get(suffix, _OTHER_RATES)


def rate_like(path: str | Path, rate: float | None) -> float:
    """Return the rate at which a source of this rate is written to a video of this suffix.

    It is the same if it can be written. Some sources state no rate, or the ticks of their clock,
    such as 90000: then it is `DEFAULT_RATE`.

    Raises:
        ValueError: see `writable_rates`.
    """
    lowest, highest = writable_rates(path)
    if rate is None or rate > min(highest, _MAX_SOURCE_RATE):
        return DEFAULT_RATE
    return max(rate, lowest)


def even_sized(image: np.ndarray) -> np.ndarray:
    """The image, with the last row or column repeated where their number is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def frames_in(path: Path) -> int:
    """Return the number of frames in a video file, 0 if unreadable; FFmpeg need not decode them."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        if not capture.isOpened():  # an OpenCV without FFmpeg
            capture.open(str(path))
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:2]))
