"""Times of the frames of a video, whose steps need not be equal."""

from __future__ import annotations

import statistics
from collections import deque

# Number of steps whose median is the usual step.
_WINDOW = 100


class FrameClock:
    """Follows the times of frames: their stamps, or their indices where they have no stamps.

    Frames whose stamps are equal, as where a driver sets none, are the usual step apart.

    Attributes:
        time: of the last frame; rises from frame to frame of a video.
        steps: time since the frame before, in usual steps (the median of the last 100): 1 at a
            constant rate, k after k - 1 missing frames. None for the first frame of a video.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.time = 0.0
        self.steps: float | None = None
        self._last: tuple[int, float | None] | None = None
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def update(self, index: int, stamp: float | None) -> None:
        """Go on to the next frame.

        A new video begins where the index does not rise, where the stamp falls, and between
        frames with and without stamps.
        """
        step = self._step(index, stamp)
        self._last = index, stamp
        if step is None:
            self._recent.clear()
            self.time, self.steps = float(index) if stamp is None else stamp, None
            return
        if step > 0:
            self._recent.append(step)
        usual = statistics.median(self._recent) if self._recent else 1.0
        step = step or usual
        self.time, self.steps = self.time + step, step / usual

    def _step(self, index: int, stamp: float | None) -> float | None:
        if self._last is None or index <= self._last[0]:
            return None
        before = self._last[1]
        if stamp is None or before is None:
            return float(index - self._last[0]) if stamp is before else None
        return stamp - before if stamp >= before else None
