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
    ScoreCounts,
    fit_curve,
    score_counts,
    with_prior,
)
from ood_seg.calibration.operating_points import (
    OperatingPoint,
    count_false_alarms,
    operating_point,
    smallest_conformal_set,
)
from ood_seg.calibration.reliability import Reliability, expected_calibration_error, reliability
from ood_seg.labels import MIN_AREA
from ood_seg.metrics.histogram import ScoreHistogram

DEFAULT_POINTS = ("fpr 1%", "fpr 5%", "tpr 95%", "best f1", "conformal fpr 5%")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted calibration; made by `calibrate` or `Calibration.load`.

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
    """

    method: str
    curve: LogisticCurve | IsotonicCurve
    score: str
    data_set: str
    num_images: int
    pixels: PixelCounts
    assumed_prior: float
    score_range: tuple[float, float]
    ece_before: float
    ece_after: float
    ece_held_out: bool
    diagram: Reliability
    operating_points: dict[str, OperatingPoint]
    min_area: int | None = None
    seed: int = 0
    model: str | None = None
    checkpoint_sha256: str | None = None

    def probability(self, scores: Any) -> Any:
        """Anomaly probabilities in [0, 1], never falling with the score.

        Beyond the fitted range a logistic curve approaches 0 and 1, an isotonic one keeps its
        outermost values.

        Args:
            scores: any shape; a tensor (any device) gives a tensor, anything else an array.

        Returns:
            The same shape; float64 stays float64, any other type becomes float32. NaN stays NaN.
        """
        if isinstance(scores, Tensor):
            return self.curve(scores if scores.dtype == torch.float64 else scores.float())
        array = np.asarray(scores)
        array = array if array.dtype == np.float64 else array.astype(np.float32)
        return as_numpy(self.curve(from_array(array)))

    def point(self, name: str | None = None) -> OperatingPoint:
        """The operating point of that name; without a name the first one.

        Raises:
            ValueError: there is none of that name; those that exist are listed.
        """
        if not self.operating_points:
            raise ValueError("this calibration holds no operating point")
        name = next(iter(self.operating_points)) if name is None else name
        if name not in self.operating_points:
            known = ", ".join(map(repr, self.operating_points))
            raise ValueError(f"no operating point {name!r} in this calibration; it has {known}")
        return self.operating_points[name]

    def facts(self) -> dict[str, Any]:
        """What exported models and the service state of it: curve, images and assumed prior."""
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
    method: str = "platt",
    points: Sequence[str] | None = None,
    assumed_prior: float | None = None,
    seed: int = 0,
    model: str | None = None,
    checkpoint_sha256: str | None = None,
) -> Calibration:
    """Fit the anomaly probability and choose operating points on held-back images.

    Args:
        histograms: one per image, of images that no part of the model was chosen or trained on.
        score: name of the score.
        data_set: name of the images.
        method: `platt`, `temperature` or `isotonic`, see `ood_seg.calibration.curves`.
        points: names as in `ood_seg.calibration.operating_points`; None: `DEFAULT_POINTS`, of
            which conformal ones are left out, with a warning, where there are too few images.
        assumed_prior: share of anomalous pixels to be expected in use. The odds are multiplied by
            the ratio of the prior odds, which is right where only that share differs.
        seed: of the division into halves for `ece_after`.
        model: name of the model.
        checkpoint_sha256: hash of its checkpoint file.

    Raises:
        ValueError: no histograms; a class without pixels; equal or inverted scores; an unknown
            method or point; a prior outside 0..1; or too few images for a requested point.
    """
    merged = ScoreHistogram.merged(histograms)
    counts = score_counts([merged])
    curve = fitted = fit_curve(counts, method)
    pixels = PixelCounts(merged.num_known, merged.num_anomalous, merged.num_ignored)
    prior = pixels.anomalous / (pixels.known + pixels.anomalous)
    if assumed_prior is not None:
        curve = with_prior(curve, prior, assumed_prior)
    held_out = _held_out_reliability(histograms, method, np.random.default_rng(seed))
    diagram = held_out or reliability(*_probabilities(fitted, counts))
    names = _feasible_points(histograms) if points is None else points
    return Calibration(
        method=method,
        curve=curve,
        score=score,
        data_set=data_set,
        num_images=len(histograms),
        pixels=pixels,
        assumed_prior=prior if assumed_prior is None else assumed_prior,
        score_range=(float(merged.lowest[0]), float(merged.highest[-1])),
        ece_before=expected_calibration_error(reliability(_as_probabilities(counts), *counts[1:])),
        ece_after=expected_calibration_error(diagram),
        ece_held_out=held_out is not None,
        diagram=diagram,
        operating_points={n: operating_point(n, histograms, merged=merged) for n in names},
        seed=seed,
        model=model,
        checkpoint_sha256=checkpoint_sha256,
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


def _as_probabilities(counts: ScoreCounts) -> np.ndarray:
    """The scores as probabilities: scaled linearly unless they lie in [0, 1]."""
    low, high = counts.scores[0], counts.scores[-1]
    if low >= 0 and high <= 1:
        return counts.scores
    return (counts.scores - low) / (high - low)


def _held_out_reliability(
    histograms: Sequence[ScoreHistogram], method: str, rng: np.random.Generator
) -> Reliability | None:
    """Reliability on each half of the images of the fit on the other; None if one has no fit."""
    shuffled = [histograms[index] for index in rng.permutation(len(histograms))]
    # Those with anomalies first, so that both halves get their share.
    shuffled.sort(key=lambda part: part.num_anomalous == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on separated scores; the fit on all warns as well
        try:
            first, second = score_counts(shuffled[::2]), score_counts(shuffled[1::2])
            curves = fit_curve(second, method), fit_curve(first, method)
        except ValueError:  # a half has no images, a class is absent, scores are equal
            return None
    tested = [_probabilities(*one) for one in zip(curves, (first, second), strict=True)]
    return reliability(*map(np.concatenate, zip(*tested, strict=True)))


def _probabilities(
    curve: LogisticCurve | IsotonicCurve, counts: ScoreCounts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the scores, with the counts at each."""
    return curve(torch.from_numpy(counts.scores)).numpy(), counts.known, counts.anomalous


def _feasible_points(histograms: Sequence[ScoreHistogram]) -> list[str]:
    """The default points for which there are enough images."""
    images = sum(part.num_known > 0 for part in histograms)
    feasible = [name for name in DEFAULT_POINTS if smallest_conformal_set(name) <= images]
    for name in sorted(set(DEFAULT_POINTS) - set(feasible)):
        needed = smallest_conformal_set(name)
        warnings.warn(
            f"no operating point {name!r}: its guarantee takes {needed} images, got {images}",
            stacklevel=3,
        )
    return feasible
