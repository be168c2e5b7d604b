"""From a prediction to a decision: which pixels are flagged and which instances they form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ood_seg.labels import ANOMALY, KNOWN, MIN_AREA
from ood_seg.perception.core.instances import find_instances
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame, Instance, Palette, Prediction
from ood_seg.refinement import without_slivers
from ood_seg.spelling import point_name, point_option

# Of the region; the largest anomaly of Road Anomaly covers 42 % of its image.
SCENE_SHARE = 0.45


@dataclass(frozen=True)
class DecisionRule:
    """Flags the pixels inside a region whose score reaches a threshold: `score >= threshold`.

    Scores and threshold are compared as float32. The threshold is on the score, not on the
    probability, because different scores may have the same probability.

    Attributes:
        threshold: on the score; None flags nothing, and results have no mask.
        operating_point: name of the threshold; None if it was given as a number.
        min_area: objects of fewer pixels stay in the mask but are not instances.
        region: see `ood_seg.perception.core.regions`; None for the whole image.
        boundary_suppression: pixels of the widest strip along a boundary of two known classes that
            is not flagged (`refinement.without_slivers`, of the mask); 0: none. Unlike a
            refinement, it leaves scores, and thus thresholds and probabilities, as they are.
        scene_share: of the region, or else of the image; an instance that is larger is a scene.
        split: whether sprawling components are split (`parts.split_components`).

    Raises:
        ValueError: a threshold that is not finite, `min_area` below 1, or another number out of its
            range.
    """

    threshold: float | None = None
    operating_point: str | None = None
    min_area: int = MIN_AREA
    region: Region | None = None
    boundary_suppression: int = 0
    scene_share: float = SCENE_SHARE
    split: bool = True

    def __post_init__(self) -> None:
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ValueError(f"threshold: expected a finite score, got {self.threshold}")
        if self.min_area < 1:
            raise ValueError(f"min_area, in pixels, must be at least 1; got {self.min_area}")
        if not 0 <= self.boundary_suppression <= 255:
            raise ValueError(
                "boundary suppression: expected a width from 1 to 255 pixels, or 0 for none, got "
                f"{self.boundary_suppression}"
            )
        if not 0 < self.scene_share <= 1:
            raise ValueError(
                f"scene_share: expected a share above 0, up to 1; got {self.scene_share}"
            )

    def __call__(
        self,
        frame: Frame,
        prediction: Prediction,
        *,
        palette: Palette,
        score_name: str,
        latency: Mapping[str, float] | None = None,
        model: str = "",
        threshold_probability: float | None = None,
    ) -> AnomalyResult:
        """Return the result for one frame.

        Args:
            frame: the image.
            prediction: for this image.
            palette: of the known classes.
            score_name: name of the anomaly score.
            latency: seconds of each stage so far, copied to the result.
            model: its name, copied to the result.
            threshold_probability: of an anomaly, at the threshold; copied to the result.

        Raises:
            ValueError: see `check_prediction`.
        """
        check_prediction(prediction, frame.image.shape[:2], frame.name)
        region = None if self.region is None else self.region(prediction.labels)
        mask: np.ndarray | None = None
        instances: tuple[Instance, ...] = ()
        if self.threshold is not None:
            flagged = self._flagged(prediction, region)
            mask = np.where(flagged, np.uint8(ANOMALY), np.uint8(KNOWN))
            size = mask.size if region is None else np.count_nonzero(region)
            instances = find_instances(
                mask,
                prediction.anomaly,
                prediction.probability,
                min_area=self.min_area,
                labels=prediction.labels if self.split else None,
                max_area=self.scene_share * size,
            )
        return AnomalyResult(
            name=frame.name,
            index=frame.index,
            stamp=frame.stamp,
            image=frame.image,
            **prediction._asdict(),
            mask=mask,
            instances=instances,
            threshold=self.threshold,
            operating_point=self.operating_point,
            region=region,
            palette=palette,
            score_name=score_name,
            latency=dict(latency or {}),
            model=model,
            threshold_probability=threshold_probability,
        )

    def _flagged(self, prediction: Prediction, region: np.ndarray | None) -> np.ndarray:
        """The flagged pixels, boolean `(H, W)`."""
        flagged = prediction.anomaly >= np.float32(self.threshold)
        if self.boundary_suppression:
            # A threshold and a morphological opening may be exchanged.
            values, width = flagged.astype(np.float32), self.boundary_suppression
            flagged = without_slivers(values, prediction.labels, width=width) > 0
        return flagged if region is None else flagged & region


def check_prediction(prediction: Prediction, size: tuple[int, int], name: str) -> None:
    """Check that a prediction fits an image and that its scores are finite.

    Args:
        prediction: to be checked.
        size: height and width of the image.
        name: of the image, for the message.

    Raises:
        ValueError: an array of another shape or type, or scores that are NaN or infinite.
    """
    for part, values in prediction._asdict().items():
        if part == "probability" and values is None:
            continue
        kinds = ("uint8", "uint16") if part == "labels" else ("float32",)
        if not isinstance(values, np.ndarray) or values.shape != size or values.dtype not in kinds:
            shape = getattr(values, "shape", None)
            got = f"{shape} of {getattr(values, 'dtype', type(values).__name__)}"
            raise ValueError(
                f"{name or 'image'}: {part}: expected {size} of {' or '.join(kinds)}, got {got}"
            )
    check_finite(prediction.anomaly, name)


def check_finite(scores: np.ndarray, name: str) -> None:
    """Raise a ValueError that names the image where scores are NaN or infinite."""
    bad = scores.size - int(np.count_nonzero(np.isfinite(scores)))
    if bad:
        raise ValueError(f"{name or 'image'}: {bad} anomaly scores are NaN or infinite")


def choose_threshold(
    operating_point: str | float | None, thresholds: Mapping[str, float]
) -> tuple[str | None, float | None]:
    """Return name and value of the threshold that a user chose.

    Args:
        operating_point: a name, in any spelling of `spelling.point_name`; a number, which may be
            given as text; or None for the first name.
        thresholds: score at each named operating point.

    Returns:
        The name is None for a number; both are None where nothing is chosen and there is no name.

    Raises:
        ValueError: no such name, or a number that is not finite.
    """
    if operating_point is None:
        operating_point = next(iter(thresholds), None)
        if operating_point is None:
            return None, None
    if isinstance(operating_point, str):
        wanted = point_name(operating_point)
        for name, threshold in thresholds.items():
            if point_name(name) == wanted:
                return name, float(threshold)
    try:
        threshold = float(operating_point)
    except ValueError:
        known = ", ".join(map(point_option, thresholds))
        raise ValueError(
            f"operating point {operating_point!r} is not in the calibration, which has {known}"
            if known
            else f"operating point {operating_point!r} needs a calibration; without one, give a "
            "number: the score from which pixels are flagged"
        ) from None
    if not math.isfinite(threshold):
        raise ValueError(f"operating point: expected a finite score, got {operating_point}")
    return None, threshold


def threshold_description(rule: DecisionRule) -> str:
    """Return in one line which pixels a rule flags."""
    if rule.threshold is None:
        return "no operating point: scores only, no mask and no objects (see --operating-point)"
    at = "" if rule.operating_point is None else f" at {point_option(rule.operating_point)}"
    return f"pixels are flagged{at} where the score is at least {rule.threshold:.6g}"
