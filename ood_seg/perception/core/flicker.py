"""Flicker of the results of a video: changes between frames that are not changes of the scene.

Each frame is compared with the previous one, warped along the optical flow, on the pixels whose
flow is trusted. This follows the warping error of Lai et al., "Learning blind video temporal
consistency", ECCV 2018, and the temporal consistency (an IoU of masks) of Liu et al., "Efficient
semantic video segmentation with per-frame inference", ECCV 2020:

    scores   mean |score_t - warped score_{t-1}|, in standard deviations of score_t
    pixels   share of the pixels whose flag differs
    mask     1 - IoU of the two masks: 0 steady, 1 nothing in common
    boxes    instances that appear or vanish, per frame

Less is not always better: a map that never changes does not flicker. Always report a measure of
detection quality as well.
"""

from __future__ import annotations

import numpy as np

from ood_seg.perception.core.motion import backward_motion, resized_motion, small_grey, warped
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.temporal import Motion
from ood_seg.perception.core.tracking import boxes, match_boxes


class FlickerMeter:
    """Measures the flicker of results, frame by frame.

    Boxes with a track number are the same if the number is; others if they overlap a box of the
    previous frame by `min_iou`.

    Args:
        motion: previous and current grey frame -> backward flow and where it is trusted.
        motion_width: frames are reduced to this width before their motion is estimated.
        min_iou: least intersection over union of two boxes that are the same.
    """

    def __init__(
        self,
        motion: Motion = backward_motion,
        *,
        motion_width: int = 512,
        min_iou: float = 0.2,
    ) -> None:
        self.motion = motion
        self.motion_width = motion_width
        self.min_iou = min_iou
        self._before: tuple[np.ndarray, AnomalyResult] | None = None
        self._values: dict[str, list[float]] = {}

    def update(self, result: AnomalyResult) -> None:
        """Add the next frame.

        Raises:
            ValueError: a frame of another size.
        """
        grey = small_grey(result.image, self.motion_width)
        if self._before is not None:
            before, previous = self._before
            if previous.anomaly.shape != result.anomaly.shape:
                raise ValueError(
                    f"{result.name}: expected a frame of {previous.anomaly.shape}, as the previous "
                    f"one, got {result.anomaly.shape}"
                )
            flow, trusted = resized_motion(*self.motion(before, grey), result.anomaly.shape)
            for name, value in frame_flicker(previous, result, flow, trusted).items():
                self._values.setdefault(name, []).append(value)
            changed = changed_boxes(previous, result, self.min_iou)
            self._values.setdefault("boxes", []).append(changed)
        self._before = grey, result

    def summary(self) -> dict[str, float]:
        """Means over the pairs of frames, NaN if undefined for all; and the number of pairs."""
        values = {
            name: float(np.nanmean(list_)) if not np.isnan(list_).all() else float("nan")
            for name, list_ in self._values.items()
        }
        return {**values, "pairs": len(self._values.get("boxes", ()))}


def frame_flicker(
    previous: AnomalyResult, result: AnomalyResult, flow: np.ndarray, trusted: np.ndarray
) -> dict[str, float]:
    """`scores`, and with masks `pixels` and `mask`, of one pair of frames.

    Args:
        previous, result: of two consecutive frames, `(H, W)`.
        flow: backward, `(H, W, 2)`.
        trusted: `(H, W)`, the pixels that count.

    Returns:
        The values; NaN where no pixel counts, and for the IoU of two empty masks.
    """
    scores = result.anomaly[trusted]
    if not scores.size:
        return {"scores": float("nan")}
    before = warped(previous.anomaly, flow)[trusted]
    difference = float(np.abs(scores - before).mean(dtype=np.float64))
    spread = float(scores.std(dtype=np.float64))
    values = {"scores": difference / spread if spread else float("nan")}
    if previous.mask is None or result.mask is None:
        return values
    was = warped(previous.mask.astype(np.float32), flow)[trusted] >= 0.5
    now = result.mask[trusted] != 0
    either, both = np.count_nonzero(was | now), np.count_nonzero(was & now)
    values["pixels"] = (either - both) / now.size
    values["mask"] = 1 - both / either if either else float("nan")
    return values


def changed_boxes(previous: AnomalyResult, result: AnomalyResult, min_iou: float) -> int:
    """Number of instances that are in only one of two consecutive frames."""
    old, new = previous.instances, result.instances
    if any(one.track is not None for one in (*old, *new)):
        return len({one.track for one in old} ^ {one.track for one in new})
    pairs = match_boxes(boxes(old), boxes(new), min_iou)
    return len(old) + len(new) - 2 * len(pairs)
