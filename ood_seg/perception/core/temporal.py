"""Temporal smoothing of score maps: an exponential average, optionally along the motion."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ood_seg.perception.core.clock import FrameClock
from ood_seg.perception.core.decision import check_finite
from ood_seg.perception.core.motion import backward_motion, resized_motion, small_grey, warped
from ood_seg.perception.core.types import Frame, Prediction

# Motion is estimated in frames whose sides are at least this many pixels.
_MIN_SIDE = 16
_WIDTH_FOR_CUTS = 64

# Previous and current grey frame -> backward flow and where it is trusted.
Motion = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class TemporalFilter:
    """Exponential average of the score maps of a video.

        filtered = before + w * (score - before),   w = 1 - (1 - weight)^steps

    where `before` is the filtered map of the previous frame, warped along the motion, and `steps`
    the time since that frame, in steps of the usual length (`FrameClock`): 1 at a constant rate,
    more after a pause or after frames that are missing. A pixel whose
    motion is not trusted, such as a newly uncovered one, takes the new score. The probability is
    the calibrated probability of the filtered score; where that cannot be computed, probabilities
    are filtered like scores. Labels are unchanged.

    With a threshold chosen on single images, less flicker is flagged, and sudden objects are
    flagged later: after k frames the filter has followed a step to `1 - (1 - weight)^k`.

    The filter keeps the last filtered map or maps and the last frame, small and grey. It starts
    again after `reset`, at a cut, at another image size, and where a new video begins: where
    `Frame.index` does not rise, or `Frame.stamp` falls.

    Args:
        weight: of the new frame after the usual step, above 0 and at most 1 (no filtering).
        motion: False averages at fixed positions; True follows the optical flow of
            `backward_motion`; or a function with the same signature.
        motion_width: frames are reduced to this width before their motion is estimated.
        cut: mean absolute difference of two frames of 64 pixels width, in grey levels, from which
            they count as different scenes.

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
        if motion_width < _MIN_SIDE or not cut > 0:
            raise ValueError(
                f"expected motion_width >= {_MIN_SIDE} and cut > 0, got {motion_width} and {cut}"
            )
        self.weight = float(weight)
        self.motion_width = motion_width
        self.cut = float(cut)
        self._motion = backward_motion if motion is True else motion or None
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._clock = FrameClock()
        self._forget_maps()

    def _forget_maps(self) -> None:
        self._grey: np.ndarray | None = None
        self._scores: np.ndarray | None = None
        self._probability: np.ndarray | None = None

    def __call__(
        self,
        frame: Frame,
        prediction: Prediction,
        probability: Callable[[np.ndarray], np.ndarray | None] | None = None,
    ) -> Prediction:
        """Return the prediction with filtered scores.

        Args:
            frame: the next frame of the video.
            prediction: for this frame.
            probability: returns the calibrated probability of scores, or None if there is none.

        Raises:
            ValueError: scores that are not finite; the state is unchanged.
        """
        scores = prediction.anomaly
        check_finite(scores, frame.name)
        grey = small_grey(frame.image, self.motion_width)
        self._clock.update(frame.index, frame.stamp)
        if not self._continues(scores, grey):
            self._forget_maps()
        flow, trusted = self._flow(grey, scores.shape)
        filtered = self._average(self._scores, scores, flow, trusted)
        averaged = None
        if prediction.probability is not None:
            averaged = None if probability is None else probability(filtered)
            if averaged is None:
                new = prediction.probability
                averaged = self._average(self._probability, new, flow, trusted)
        self._grey, self._scores, self._probability = grey, filtered, averaged
        return prediction._replace(anomaly=filtered, probability=averaged)

    def _continues(self, scores: np.ndarray, grey: np.ndarray) -> bool:
        if self._grey is None or self._scores is None or self._scores.shape != scores.shape:
            return False
        return self._clock.steps is not None and frame_difference(self._grey, grey) < self.cut

    def _flow(self, grey: np.ndarray, size: tuple[int, int]) -> tuple:
        """Flow and trusted pixels at the size of the scores; None and None without motion."""
        if self._grey is None or self._motion is None or min(grey.shape) < _MIN_SIDE:
            return None, None
        return resized_motion(*self._motion(self._grey, grey), size)

    def _average(
        self,
        before: np.ndarray | None,
        new: np.ndarray,
        flow: np.ndarray | None,
        trusted: np.ndarray | None,
    ) -> np.ndarray:
        if before is None:
            return new
        if flow is not None and trusted is not None:
            before = np.where(trusted, warped(before, flow), new)
        weight = 1 - (1 - self.weight) ** (self._clock.steps or 1.0)
        # In this form a map that does not change is reproduced exactly.
        return before + np.float32(weight) * (new - before)


def frame_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two grey frames of equal size, after reduction; 0..255."""
    width = min(_WIDTH_FOR_CUTS, first.shape[1])
    size = (width, max(1, round(first.shape[0] * width / first.shape[1])))
    small = [cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in (first, second)]
    return float(cv2.absdiff(*small).mean())
