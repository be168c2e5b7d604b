"""`Calibration`: maps a score to a probability and to a decision.

histograms of held-back images -> calibrate -> Calibration -> save / load (JSON)
                                                   |- probability(scores)
                                                   `- point(name).threshold
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ood_seg.arrays import as_numpy, from_array
from ood_seg.calibration import files
from ood_seg.calibration.curves import (
    IsotonicCurve,
    LogisticCurve,
    PixelCounts,
    fit_curve,
    score_counts,
    with_prior,
)
from ood_seg.calibration.held_out import (
    fitted_reliability,
    held_out_reliability,
    uncalibrated_reliability,
)
from ood_seg.calibration.operating_points import (
    OperatingPoint,
    count_false_alarms,
    needs_anomalies,
    operating_point,
    smallest_conformal_set,
)
from ood_seg.calibration.reliability import Reliability, expected_calibration_error
from ood_seg.labels import MIN_AREA
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.spelling import point_name, point_option

DEFAULT_POINTS = ("fpr 1%", "fpr 5%", "tpr 95%", "best f1", "conformal fpr 5%")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted calibration; made by `calibrate` or `Calibration.load`.

    Made from known pixels alone it holds points by their FPR, and no probability: then `method`,
    `curve`, `assumed_prior`, `ece_before`, `ece_after` and `diagram` are None.

    Attributes:
        method: `platt`, `temperature` or `isotonic`.
        curve: its fit, with the assumed prior worked in.
        score: name of the score that it applies to.
        data_set: name of the calibration images.
        num_images: number of calibration images.
        pixels: numbers of their pixels.
        assumed_prior: share of anomalous pixels that the probabilities assume; that of the
            calibration images unless another was given.
        score_range: lowest and highest score of the calibration images.
        ece_before: expected calibration error of the score itself, scaled linearly from its range
            to [0, 1] unless all scores lie there already.
        ece_after: the error after calibration, without a changed prior.
        ece_held_out: whether `ece_after` is from images not used in the fit (two halves, each
            tested with the fit on the other).
        diagram: the reliability diagram of `ece_after`.
        operating_points: by name.
        min_area: smallest false alarm that counts, in pixels; None where none were counted.
        seed: of the division into halves.
        model: name of the model, if given.
        checkpoint_sha256: hash of its checkpoint file, if given.
        commit: of the code that made the scores, if known.
        setup: what the scores depend on beside the weights: options of the score, smoothing,
            preprocessing; None where that is not recorded, as for saved maps.
    """

    method: str | None
    curve: LogisticCurve | IsotonicCurve | None
    score: str
    data_set: str
    num_images: int
    pixels: PixelCounts
    assumed_prior: float | None
    score_range: tuple[float, float]
    ece_before: float | None
    ece_after: float | None
    ece_held_out: bool
    diagram: Reliability | None
    operating_points: dict[str, OperatingPoint]
    min_area: int | None = None
    seed: int = 0
    model: str | None = None
    checkpoint_sha256: str | None = None
    commit: str | None = None
    setup: dict[str, Any] | None = None

    def probability(self, scores: Any) -> Any:
        """Anomaly probabilities in [0, 1], never falling with the score.

        Beyond the fitted range a logistic curve approaches 0 and 1, an isotonic one keeps its
        outermost values.

        Args:
            scores: any shape; a tensor (any device) gives a tensor, anything else an array.

        Returns:
            The same shape; float64 stays float64, any other type becomes float32. NaN stays NaN.
            None without a curve.
        """
        if self.curve is None:
            return None
        if isinstance(scores, Tensor):
            return self.curve(scores if scores.dtype == torch.float64 else scores.float())
        array = np.asarray(scores)
        array = array if array.dtype == np.float64 else array.astype(np.float32)
        return as_numpy(self.curve(from_array(array)))

    def point(self, name: str | None = None) -> OperatingPoint:
        """The operating point of that name, such as `fpr-1%` or `fpr 1%`; by default the first.

        Raises:
            ValueError: there is none of that name; those that exist are listed.
        """
        if not self.operating_points:
            raise ValueError("this calibration holds no operating point")
        wanted = next(iter(self.operating_points)) if name is None else point_name(name)
        if wanted not in self.operating_points:
            known = ", ".join(map(point_option, self.operating_points))
            raise ValueError(f"no operating point {name!r} in this calibration; it has {known}")
        return self.operating_points[wanted]

    def facts(self) -> dict[str, Any] | None:
        """Curve, images and assumed prior, for exported models and the service; else None."""
        if self.curve is None:
            return None
        return {
            "method": self.method,
            "parameters": asdict(self.curve),
            "data_set": self.data_set,
            "assumed_prior": self.assumed_prior,
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON file atomically."""
        files.write(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, *, score: str | None = None) -> Calibration:
        """Read a file that `save` wrote; with `score`, it must be for the score of that name.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a field is missing or wrong, or the file is for another score.
        """
        calibration = cls(**files.read(Path(path)))
        if score is not None:
            calibration.check_score(score)
        return calibration

    def check_score(self, name: str) -> None:
        """Raise a ValueError unless this calibration is for the score of that name."""
        if self.score != name:
            raise ValueError(
                f"the calibration is for the score {self.score!r}, but the scores are {name!r}; "
                "calibrate these (`ood-seg calibrate`)"
            )


def calibrate(
    histograms: Sequence[ScoreHistogram],
    *,
    score: str,
    data_set: str,
    method: str | None = "platt",
    points: Sequence[str] | None = None,
    assumed_prior: float | None = None,
    seed: int = 0,
    **origin: Any,
) -> Calibration:
    """Fit the anomaly probability and choose operating points on held-back images.

    Args:
        histograms: one per image, of images that no part of the model was chosen or trained on.
        score: name of the score.
        data_set: name of the images.
        method: `platt`, `temperature` or `isotonic`, see `ood_seg.calibration.curves`; None:
            operating points alone, without a probability, for which known pixels suffice.
        points: names as in `ood_seg.calibration.operating_points`; None: `DEFAULT_POINTS`, without
            those that take anomalous pixels where there are none, and without conformal ones, with
            a warning, where there are too few images.
        assumed_prior: share of anomalous pixels to be expected in use. The odds are multiplied by
            the ratio of the prior odds, which is right where only that share differs.
        seed: of the division into halves for `ece_after`.
        **origin: `model`, `checkpoint_sha256`, `commit` and `setup`, see `Calibration`.

    Raises:
        ValueError: no histograms; no known pixels, or with a method no anomalous ones; equal or
            inverted scores; an unknown method or point; a prior outside 0..1; or too few images
            for a requested point.
    """
    merged = ScoreHistogram.merged(histograms)
    names = _feasible_points(histograms) if points is None else list(map(point_name, points))
    found = {name: operating_point(name, histograms, merged=merged) for name in names}
    if method is None and assumed_prior is not None:
        raise ValueError("assumed_prior: it changes probabilities, which take a method")
    fit = _no_fit() if method is None else _fit(histograms, merged, method, assumed_prior, seed)
    return Calibration(
        method=method,
        score=score,
        data_set=data_set,
        num_images=len(histograms),
        pixels=PixelCounts(merged.num_known, merged.num_anomalous, merged.num_ignored),
        score_range=(float(merged.lowest[0]), float(merged.highest[-1])),
        operating_points=found,
        seed=seed,
        **fit,
        **origin,
    )


def with_false_alarms(
    calibration: Calibration,
    maps: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    min_area: int = MIN_AREA,
) -> Calibration:
    """Add to each operating point its mean number of false alarms in an image.

    Args:
        calibration: of `calibrate`.
        maps: scores `(H, W)` and labels `(H, W)` (0 known, 1 anomaly, 255 ignore) of each image,
            read once; see `count_false_alarms`.
        min_area: flagged components of fewer pixels do not count.

    Raises:
        ValueError: there are no maps.
    """
    totals, images = dict.fromkeys(calibration.operating_points, 0), 0
    for scores, labels in maps:
        images += 1
        for name, point in calibration.operating_points.items():
            totals[name] += count_false_alarms(scores, labels, point.threshold, min_area=min_area)
    if not images:
        raise ValueError("false alarms need at least one score map, got none")
    points = {
        name: replace(point, false_alarms_per_image=totals[name] / images)
        for name, point in calibration.operating_points.items()
    }
    return replace(calibration, operating_points=points, min_area=min_area)


def _no_fit() -> dict[str, Any]:
    absent = ("curve", "assumed_prior", "ece_before", "ece_after", "diagram")
    return {**dict.fromkeys(absent), "ece_held_out": False}


def _fit(
    histograms: Sequence[ScoreHistogram],
    merged: ScoreHistogram,
    method: str,
    assumed_prior: float | None,
    seed: int,
) -> dict[str, Any]:
    """Curve, prior and calibration errors, as arguments of `Calibration`."""
    counts = score_counts([merged])
    curve = fitted = fit_curve(counts, method)
    prior = merged.num_anomalous / (merged.num_known + merged.num_anomalous)
    if assumed_prior is not None:
        curve = with_prior(curve, prior, assumed_prior)
    held_out = held_out_reliability(histograms, method, np.random.default_rng(seed))
    diagram = held_out or fitted_reliability(fitted, counts)
    return {
        "curve": curve,
        "assumed_prior": prior if assumed_prior is None else assumed_prior,
        "ece_before": expected_calibration_error(uncalibrated_reliability(counts)),
        "ece_after": expected_calibration_error(diagram),
        "ece_held_out": held_out is not None,
        "diagram": diagram,
    }


def _feasible_points(histograms: Sequence[ScoreHistogram]) -> list[str]:
    """The default points for which there are anomalous pixels and enough images."""
    images = sum(part.num_known > 0 for part in histograms)
    anomalies = any(part.num_anomalous for part in histograms)
    possible = [name for name in DEFAULT_POINTS if anomalies or not needs_anomalies(name)]
    feasible = [name for name in possible if smallest_conformal_set(name) <= images]
    for name in sorted(set(possible) - set(feasible)):
        needed = smallest_conformal_set(name)
        warnings.warn(
            f"no operating point {name!r}: its guarantee takes {needed} images, got {images}",
            stacklevel=3,
        )
    return feasible
