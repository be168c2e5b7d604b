"""How much the results of a video flicker: what changes between frames though the scene does not.

Each frame is compared with the one before, carried along the optical flow, on the pixels whose
flow is trusted (as the warping error of Lai et al., "Learning blind video temporal consistency",
ECCV 2018, and the temporal consistency of Liu et al., "Efficient semantic video segmentation with
per-frame inference", ECCV 2020, which is an IoU of masks):

    scores   mean |score_t - carried score_{t-1}|, in standard deviations of score_t
    pixels   share of the pixels whose flag differs
    mask     1 - IoU of the two masks: 0 steady, 1 nothing in common
    boxes    instances that appear or vanish, for each frame

Less is not always better: a map that never changes does not flicker. Read it beside a measure of
what is found.
"""

from __future__ import annotations

import numpy as np

from ood_seg.perception.core.motion import backward_motion, carried, enlarged, small_grey
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.temporal import Motion
from ood_seg.perception.core.tracking import boxes, match_boxes


class FlickerMeter:
    """Measures the flicker of results, frame by frame.

    Boxes that bear track numbers stay the same while their number does; others while they overlap
    the box of the frame before by `min_iou`.

    Args:
        motion: previous and current grey frame -> backward flow and where it is trusted.
        motion_width: frames are made this small before their motion is estimated.
        min_iou: overlap of two boxes that belong together.
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
                    f"{result.name}: expected a frame of {previous.anomaly.shape} as before, got "
                    f"{result.anomaly.shape}"
                )
            flow, trusted = enlarged(*self.motion(before, grey), result.anomaly.shape)
            for name, value in frame_flicker(previous, result, flow, trusted).items():
                self._values.setdefault(name, []).append(value)
            changed = changed_boxes(previous, result, self.min_iou)
            self._values.setdefault("boxes", []).append(changed)
        self._before = grey, result

    def summary(self) -> dict[str, float]:
        """Means over the pairs of frames, NaN where no frame says anything; and how many pairs."""
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
        previous, result: of two frames on end, `(H, W)`.
        flow: backward, `(H, W, 2)`.
        trusted: `(H, W)`, the pixels that count; NaN where there are none. The IoU of two empty
            masks is NaN as well.
    """
    scores = result.anomaly[trusted]
    if not scores.size:
        return {"scores": float("nan")}
    before = carried(previous.anomaly, flow)[trusted]
    difference = float(np.abs(scores - before).mean(dtype=np.float64))
    spread = float(scores.std(dtype=np.float64))
    values = {"scores": difference / spread if spread else float("nan")}
    if previous.mask is None or result.mask is None:
        return values
    was = carried(previous.mask.astype(np.float32), flow)[trusted] >= 0.5
    now = result.mask[trusted] != 0
    either, both = np.count_nonzero(was | now), np.count_nonzero(was & now)
    values["pixels"] = (either - both) / now.size
    values["mask"] = 1 - both / either if either else float("nan")
    return values


def changed_boxes(previous: AnomalyResult, result: AnomalyResult, min_iou: float) -> int:
    """Instances of the one frame that the other does not have."""
    old, new = previous.instances, result.instances
    if any(one.track is not None for one in (*old, *new)):
        return len({one.track for one in old} ^ {one.track for one in new})
    pairs = match_boxes(boxes(old), boxes(new), min_iou)
    return len(old) + len(new) - 2 * len(pairs)
