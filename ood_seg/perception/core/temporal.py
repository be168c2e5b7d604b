"""Scores of a video made steady: an exponential average, on request along the motion."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ood_seg.perception.core.motion import backward_motion, carried, enlarged, small_grey
from ood_seg.perception.core.types import Frame, Prediction

# Pixels a side below which no motion is estimated.
_SMALLEST = 16
_WIDTH_FOR_CUTS = 64

# Previous and current grey frame -> backward flow and where it is trusted.
Motion = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class TemporalFilter:
    """Exponential average of the score maps of a video.

        filtered = before + weight * (score - before)

    with `before` the filtered map of the previous frame, carried along the motion; a pixel whose
    motion is not trusted, such as a newly uncovered one, takes the new score. The probability is
    the calibration's of the filtered score, or, where that is not at hand, filtered like it.
    Labels pass unchanged.

    A threshold chosen on single images flags less of what flickers, and a sudden object later:
    after k frames the filter has made `1 - (1 - weight)^k` of a step.

    State, in memory: the last filtered map or maps, and the last frame in grey and small. It is
    forgotten by `reset`, at a cut, at another size of image, and where `Frame.index` does not rise.

    Args:
        weight: of the new frame, above 0 and up to 1 (which filters nothing).
        motion: False averages in place; True follows the optical flow, see `backward_motion`; or
            a function like that.
        motion_width: frames are made this small before their motion is estimated.
        cut: mean absolute difference of two frames, 64 pixels wide and in grey levels, from which
            they are taken for different scenes.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        weight: float = 0.5,
        *,
        motion: bool | Motion = True,
        motion_width: int = 320,
        cut: float = 40.0,
    ) -> None:
        if not 0 < weight <= 1:
            raise ValueError(f"weight: expected above 0 and up to 1, got {weight}")
        if motion_width < _SMALLEST or not cut > 0:
            raise ValueError(
                f"expected motion_width from {_SMALLEST} on and cut above 0, got {motion_width} "
                f"and {cut}"
            )
        self.weight = float(weight)
        self.motion_width = motion_width
        self.cut = float(cut)
        self._motion = backward_motion if motion is True else motion or None
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._index = -1
        self._grey: np.ndarray | None = None
        self._scores: np.ndarray | None = None
        self._probability: np.ndarray | None = None

    def __call__(
        self,
        frame: Frame,
        prediction: Prediction,
        probability: Callable[[np.ndarray], np.ndarray | None] | None = None,
    ) -> Prediction:
        """The prediction with filtered scores.

        Args:
            frame: the next one of its video.
            prediction: of that frame.
            probability: gives the probability of scores, or None where it cannot.

        Raises:
            ValueError: scores that are not finite; the state stays as it was.
        """
        scores = prediction.anomaly
        if not np.isfinite(scores).all():
            count = int((~np.isfinite(scores)).sum())
            raise ValueError(f"{frame.name}: {count} anomaly scores are NaN or infinite")
        grey = small_grey(frame.image, self.motion_width)
        if not self._continues(frame, scores, grey):
            self.reset()
        flow, trusted = self._flow(grey, scores.shape)
        filtered = self._average(self._scores, scores, flow, trusted)
        chance = prediction.probability
        if chance is not None:
            known = None if probability is None else probability(filtered)
            before = self._probability
            chance = self._average(before, chance, flow, trusted) if known is None else known
        self._index, self._grey, self._scores = frame.index, grey, filtered
        self._probability = chance
        return prediction._replace(anomaly=filtered, probability=chance)

    def _continues(self, frame: Frame, scores: np.ndarray, grey: np.ndarray) -> bool:
        if self._scores is None or self._scores.shape != scores.shape:
            return False
        return frame.index > self._index and frame_difference(self._grey, grey) < self.cut

    def _flow(self, grey: np.ndarray, size: tuple[int, int]) -> tuple:
        """Flow and trust at the size of the scores; None and None without motion."""
        if self._grey is None or self._motion is None or min(grey.shape) < _SMALLEST:
            return None, None
        return enlarged(*self._motion(self._grey, grey), size)

    def _average(
        self,
        before: np.ndarray | None,
        new: np.ndarray,
        flow: np.ndarray | None,
        trusted: np.ndarray | None,
    ) -> np.ndarray:
        if before is None:
            return new
        if flow is not None:
            before = np.where(trusted, carried(before, flow), new)
        # In this form a map that does not change stays what it is, to the last bit.
        return before + np.float32(self.weight) * (new - before)


def frame_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two grey frames of one size, made small; 0..255."""
    width = min(_WIDTH_FOR_CUTS, first.shape[1])
    size = (width, max(1, round(first.shape[0] * width / first.shape[1])))
    small = [cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in (first, second)]
    return float(cv2.absdiff(*small).mean())
