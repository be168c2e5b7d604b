"""Videos, cameras and streams, read by OpenCV."""

from __future__ import annotations

import itertools
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import cv2

from ood_seg.io.images import checked_image
from ood_seg.perception.core.types import Failure, Frame, FrameSource

_TIMEOUT_MS = 10_000
# Containers that count their frames. Of others OpenCV only multiplies duration and rate.
_COUNTING = frozenset({".mp4", ".m4v", ".mov", ".avi"})
# Counts and durations are not exact; so much less is no sign of damage.
_MISSING_SHARE, _MISSING_FRAMES = 0.02, 2
# Some containers round times to milliseconds.
_ROUNDING_S = 0.001
# Rates above are hardly those of frames, and differ from measured ones by rounding.
_MAX_MEASURED_RATE = 240.0
_MEASURED_FRAMES = 100


def open_capture(address: str | int) -> cv2.VideoCapture:
    """Open a file, camera or URL with OpenCV; URLs time out after ten seconds."""
    if isinstance(address, str) and "://" in address:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        options = [value for limit in limits for value in (limit, _TIMEOUT_MS)]
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
    return cv2.VideoCapture(address)


class VideoSource(FrameSource):
    """The frames of a video, named `NAME/000000` and so on.

    Stamps are the presentation times of the container, from its start: index / rate as long as that
    is the same but for rounding. Where a time is missing or does not rise, the frame follows one
    period of the rate after the one before. The rate is the one that the container states, or the
    usual one of the first frames where that is far from it.

    If the video ends well before its end as stated in the container, the last outcome is a
    `Failure`. The end is the number of frames where containers count them (MP4, MOV, AVI), else
    the duration, and then the last frame may stand as long as any before it.

    Raises:
        ValueError: OpenCV cannot read it, or it has no frames.
    """

    def __init__(self, path: str, name: str) -> None:
        capture = open_capture(path)
        try:
            if not capture.isOpened() or not capture.grab():
                raise ValueError(
                    f"video {shown_address(path)}: OpenCV cannot read a frame; it is damaged, not "
                    "a video, or needs a codec that is not installed"
                )
            stated = _positive(capture.get(cv2.CAP_PROP_FPS))
            self._count = _positive(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
            self.size = (int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(width))
        finally:
            capture.release()
        self._path, self._name = path, name
        self.rate = plausible_rate(stated, usual_rate(path))
        self._duration = self._count / stated if self._count and stated else None
        suffix = os.path.splitext(urlsplit(path).path if "://" in path else path)[1]
        self._counts = suffix.lower() in _COUNTING

    @property
    def count(self) -> int | None:
        """Number of frames, where the container counts them."""
        return None if self._count is None or not self._counts else int(self._count)

    def __iter__(self) -> Iterator[Frame | Failure]:
        capture = open_capture(self._path)
        index, stamp, longest = 0, None, 0.0
        try:
            while True:
                grabbed, image = capture.read()
                if not grabbed:
                    break
                shown = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                before, stamp = stamp, next_stamp(stamp, shown, index, self.rate)
                if stamp is not None and before is not None:
                    longest = max(longest, stamp - before)
                index, name = index + 1, f"{self._name}/{index:06d}"
                self.passed = index
                yield Frame(checked_image(image), name, index - 1, stamp)
        finally:
            capture.release()
        missing = self._missing(index, stamp or 0.0, longest)
        if missing:
            message = f"ends after {missing}; the file is truncated or damaged"
            yield Failure(shown_address(self._path), message, index)

    def _missing(self, frames: int, last: float, longest: float) -> str:
        """What was read and what should have been, if that is much more.

        Args:
            frames: number of frames.
            last: stamp of the last one.
            longest: most seconds between two frames.
        """
        if self._count is None:
            return ""
        if self._counts:
            few = self._count - frames > max(_MISSING_FRAMES, _MISSING_SHARE * self._count)
            return f"{frames} of {self._count:.0f} frames" if few else ""
        if self._duration is None or self.rate is None:
            return ""
        spare = max(_MISSING_FRAMES / self.rate, _MISSING_SHARE * self._duration, longest)
        early = self._duration - (last + 1 / self.rate) > spare
        return f"{frames} frames, {last:.2f} of {self._duration:.2f} seconds" if early else ""


def usual_rate(path: str) -> float | None:
    """Return the usual rate of the first frames of a file, without decoding them.

    Returns:
        Inverse of the median time between two frames; None for URLs, and where times are unknown.
    """
    if "://" in path:
        return None
    # Encoded packets, which are not in the order of their times.
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    times: list[float] = []
    try:
        while len(times) < _MEASURED_FRAMES and capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    finally:
        capture.release()
    times.sort()
    steps = [after - before for before, after in itertools.pairwise(times)]
    step = statistics.median(steps) if steps else 0.0
    return 1000 / step if step > 0 else None


def plausible_rate(stated: float | None, usual: float | None) -> float | None:
    """Return the stated rate of a video, unless it is an average or the ticks of a clock.

    Args:
        stated: by the container; None if it states none.
        usual: see `usual_rate`.

    Returns:
        `usual` if that is clearly higher, as where long pauses lower an average, and if the stated
        rate is that of a clock, such as 1000 in WebM files of browsers; else `stated`.
    """
    if usual is None or usual > _MAX_MEASURED_RATE:
        return stated
    average = stated is None or stated < 0.9 * usual
    clock = stated is not None and stated > max(_MAX_MEASURED_RATE, 2.5 * usual)
    return usual if average or clock else stated


def next_stamp(before: float | None, shown: float, index: int, rate: float | None) -> float | None:
    """Return the stamp of a frame of a video, in seconds; see `VideoSource`.

    Args:
        before: stamp of the previous frame; None for the first.
        shown: presentation time of the container in seconds; 0 or not finite where it is unknown.
        index: of the frame.
        rate: frames per second; None if unknown.
    """
    if rate is not None and before in (None, (index - 1) / rate):
        even = index / rate
        shown = even if abs(even - shown) <= _ROUNDING_S else shown
    if index == 0:
        return max(shown, 0.0) if math.isfinite(shown) else 0.0
    if math.isfinite(shown) and shown > (before or 0.0):
        return shown
    return None if rate is None or before is None else before + 1 / rate


class LiveSource(FrameSource):
    """The frames of a camera or stream, named `NAME/000000` and so on; endless.

    Stamps are seconds since 1970. When the stream stops, it is reopened up to `reconnects` times in
    a row, after 1, 2, 4, ... times `wait` seconds; then the last outcome is a `Failure`.

    Raises:
        ValueError: it cannot be opened.
    """

    live = True

    def __init__(
        self,
        address: str | int,
        name: str,
        *,
        reconnects: int = 3,
        wait: float = 1.0,
        capture: Callable[[str | int], cv2.VideoCapture] = open_capture,
        opened: cv2.VideoCapture | None = None,
    ) -> None:
        self._address, self._name = address, name
        self._reconnects, self._wait, self._open = reconnects, wait, capture
        self._closed = threading.Event()
        # Some cameras allow one reader only, so an open capture is used instead of a second one.
        first = capture(address) if opened is None else opened
        if not first.isOpened():
            first.release()
            raise ValueError(
                f"{shown_address(address)}: cannot be opened; check its address, that it is "
                "connected, and that no other program uses it"
            )
        self._first: cv2.VideoCapture | None = first
        self.rate = _positive(first.get(cv2.CAP_PROP_FPS))

    def __iter__(self) -> Iterator[Frame | Failure]:
        capture: cv2.VideoCapture | None = self._first
        self._first = None
        index = tries = 0
        try:
            while not self._closed.is_set():
                capture = capture or self._open(self._address)
                grabbed, image = capture.read() if capture.isOpened() else (False, None)
                if grabbed and image is not None:
                    tries = 0
                    index, name = index + 1, f"{self._name}/{index:06d}"
                    self.passed = index
                    yield Frame(checked_image(image), name, index - 1, time.time())
                    continue
                capture.release()
                capture = None
                if tries == self._reconnects:
                    yield Failure(shown_address(self._address), self._ending(index), index)
                    return
                self._closed.wait(self._wait * 2**tries)
                tries += 1
        finally:
            if capture is not None:
                capture.release()

    def _ending(self, index: int) -> str:
        return f"stopped after {index} frames; reopened {self._reconnects} times without an image"

    def close(self) -> None:
        """Stop waiting, and end the iteration at the next frame."""
        self._closed.set()
        if self._first is not None:
            self._first.release()


def open_stream(
    url: str, name: str, *, capture: Callable[[str | int], cv2.VideoCapture] = open_capture
) -> FrameSource:
    """Open a URL as a video if it has an end, else as a live stream.

    Raises:
        ValueError: it cannot be opened.
    """
    opened = capture(url)
    if not opened.isOpened() or _positive(opened.get(cv2.CAP_PROP_FRAME_COUNT)) is None:
        return LiveSource(url, name, capture=capture, opened=opened)
    opened.release()
    return VideoSource(url, name)


def stream_name(url: str) -> str:
    """Host and path of a URL, without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}{parts.path}".strip("/")


def shown_address(address: str | int) -> str:
    """The address without a password."""
    if isinstance(address, int):
        return f"camera {address}"
    if "@" not in address or "://" not in address:
        return address
    return f"{address.partition('://')[0]}://...@{address.rpartition('@')[2]}"


def _positive(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
