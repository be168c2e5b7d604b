"""From a prediction to a decision: which pixels are flagged, and which objects they form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_seg.labels import ANOMALY, KNOWN
from ood_seg.perception.core.instances import find_instances
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame, Palette, Prediction


@dataclass(frozen=True)
class DecisionRule:
    """Flags the pixels with `score >= threshold` inside the region.

    Both sides of the comparison are float32, and it is on the score, not on the probability,
    which may be equal for different scores.

    Attributes:
        threshold: None flags nothing: results then have no mask.
        operating_point: name of the threshold; None for a bare number.
        min_area: smaller groups of flagged pixels stay in the mask, but are no instances.
        region: see `ood_seg.perception.core.regions`; None for the whole image.
    """

    threshold: float | None = None
    operating_point: str | None = None
    min_area: int = 50
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ValueError(f"threshold: expected a finite score, got {self.threshold}")
        if self.min_area < 1:
            raise ValueError(f"min_area, in pixels, must be at least 1; got {self.min_area}")

    def __call__(
        self,
        frame: Frame,
        prediction: Prediction,
        *,
        palette: Palette,
        score_name: str,
        latency: dict[str, float] | None = None,
    ) -> AnomalyResult:
        """The result for one frame.

        Args:
            frame: the image.
            prediction: the network's word on it.
            palette: of the known classes.
            score_name: name of the anomaly score.
            latency: seconds of each stage so far, handed on.

        Raises:
            ValueError: arrays of another size than the image or of another kind, or scores that
                are not finite; the message names the image.
        """
        check_prediction(prediction, frame.image.shape[:2], frame.name)
        region = None if self.region is None else self.region(prediction.labels)
        mask, instances = None, ()
        if self.threshold is not None:
            flagged = prediction.anomaly >= np.float32(self.threshold)
            if region is not None:
                flagged &= region
            mask = np.where(flagged, np.uint8(ANOMALY), np.uint8(KNOWN))
            instances = find_instances(
                mask, prediction.anomaly, prediction.probability, min_area=self.min_area
            )
        return AnomalyResult(
            **{name: getattr(frame, name) for name in ("name", "index", "stamp", "image")},
            **prediction._asdict(),
            mask=mask,
            instances=instances,
            threshold=self.threshold,
            operating_point=self.operating_point,
            region=region,
            palette=palette,
            score_name=score_name,
            latency=dict(latency or {}),
        )


def check_prediction(prediction: Prediction, size: tuple[int, int], name: str) -> None:
    """Raise a ValueError, which names the image, unless the prediction fits one of that size.

    Args:
        prediction: to be checked.
        size: height and width of the image.
        name: of the image.
    """
    for part, values in prediction._asdict().items():
        if part == "probability" and values is None:
            continue
        kind = np.uint8 if part == "labels" else np.float32
        if not isinstance(values, np.ndarray) or values.shape != size or values.dtype != kind:
            got = getattr(values, "shape", None), getattr(values, "dtype", type(values).__name__)
            raise ValueError(
                f"{name or 'image'}: {part}: expected {size} of {np.dtype(kind)}, got {got[0]} of "
                f"{got[1]}"
            )
    finite = np.isfinite(prediction.anomaly)
    if not finite.all():
        count = finite.size - int(np.count_nonzero(finite))
        raise ValueError(f"{name or 'image'}: {count} anomaly scores are NaN or infinite")
