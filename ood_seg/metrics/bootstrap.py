"""Bootstrap intervals of the pixel metrics, and the paired comparison of two methods.

Pixels of one image depend on each other; images are the units of the sample. So a resample
draws images with replacement, which is an integer weight for each image's histogram:

    histograms, weights (R, n) -> resampled_metrics -> {metric: (R,)} -> interval, p-value

Only the order of the scores counts: a strictly rising change of all of them changes no interval.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 14.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.resampling import draw_weights, resampled_metrics

METHODS = ("percentile", "bca")
_LISTED = 5


class Interval(NamedTuple):
    """A metric with its confidence interval; all are fractions of 1, NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BootstrapResult:
    """Result of `bootstrap_metrics`.

    Attributes:
        intervals: by metric: `auroc`, `ap`, `fpr95`, `best_f1`.
        level: probability that the interval is meant to cover, such as 0.95.
        method: `percentile` or `bca`.
        samples: resamples that were used.
        redrawn: resamples that lacked a class and were drawn again.
        num_images: images that were resampled.
    """

    intervals: dict[str, Interval]
    level: float
    method: str
    samples: int
    redrawn: int
    num_images: int


class Difference(NamedTuple):
    """A metric of two methods on the same images; the interval is of `second - first`."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Result of `compare_methods`; attributes as in `BootstrapResult`."""

    differences: dict[str, Difference]
    level: float
    samples: int
    redrawn: int
    num_images: int


def bootstrap_metrics(
    histograms: Sequence[ScoreHistogram],
    *,
    samples: int = 1000,
    level: float = 0.95,
    method: str = "percentile",
    seed: int = 0,
) -> BootstrapResult:
    """Confidence intervals of AUROC, AP, FPR95 and best F1 over images.

    A resample without known or without anomalous pixels has no metrics; it is drawn again, and
    the number of such is stated. The interval thus holds given that both classes occur.

    Args:
        histograms: one per image, of `ScoreHistogram.from_scores`.
        samples: resamples.
        level: coverage, between 0 and 1.
        method: `percentile`, or `bca` (bias-corrected and accelerated, chapter 14.3), which needs
            pixels of both classes in the remaining images whichever image is left out; otherwise
            `percentile` is used, with a warning.
        seed: of the generator that draws.

    Returns:
        Values and intervals. With one image, or where a class is absent from all, there is no
        spread between images: the bounds (and, without a class, the values) are NaN, with a
        warning.

    Raises:
        ValueError: no histograms, or an argument out of its range.
    """
    _check_arguments(histograms, samples, level)
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if not _can_resample(histograms):
        values, _ = _values(histograms)
        undefined = {name: Interval(value, np.nan, np.nan) for name, value in values.items()}
        return BootstrapResult(undefined, level, method, 0, 0, len(histograms))
    weights, redrawn = draw_weights(histograms, samples, np.random.default_rng(seed))
    values, resampled = _values(histograms, weights)
    jackknife = _jackknife(histograms) if method == "bca" else None
    intervals = {}
    for name, value in values.items():
        left_out = None if jackknife is None else jackknife[name]
        quantiles = _quantiles(value, resampled[name], left_out, level)
        intervals[name] = Interval(value, *np.quantile(resampled[name], quantiles).tolist())
    used = "percentile" if jackknife is None else "bca"
    return BootstrapResult(intervals, level, used, samples, redrawn, len(histograms))


def compare_methods(
    first: Mapping[str, ScoreHistogram],
    second: Mapping[str, ScoreHistogram],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Difference of the metrics of two methods, with interval and two-sided p-value.

    Both methods see the same resamples of images, so that what makes an image hard for both
    cancels. The p-value is `2 (1 + min(#(d <= 0), #(d >= 0))) / (1 + samples)`, at most 1, over
    the resampled differences d. Permutation of the two methods within an image would be no test
    here: pooled metrics rank pixels of all images, and scores of two methods share no scale.

    Args:
        first, second: histograms by image name; the same names, the same ground truth.
        samples, level, seed: as in `bootstrap_metrics`; resamples without a class are drawn
            again as well.

    Returns:
        `second - first` for each metric; undefined parts are NaN as in `bootstrap_metrics`.

    Raises:
        ValueError: an image is missing in one of them (names are listed), or has another number
            of known or anomalous pixels; and as `bootstrap_metrics`.
    """
    names = _matched_names(first, second)
    ours, theirs = [first[name] for name in names], [second[name] for name in names]
    _check_arguments(ours, samples, level)
    if not _can_resample(ours):
        (values, _), (other_values, _) = _values(ours), _values(theirs)
        undefined = {
            name: Difference(value, other_values[name], other_values[name] - value, *[np.nan] * 3)
            for name, value in values.items()
        }
        return Comparison(undefined, level, 0, 0, len(names))
    weights, redrawn = draw_weights(ours, samples, np.random.default_rng(seed))
    values, resampled = _values(ours, weights)
    other_values, other_resampled = _values(theirs, weights)
    differences = {}
    for name, value in values.items():
        change = other_values[name] - value
        changes = other_resampled[name] - resampled[name]
        low, high = np.quantile(changes, _quantiles(change, changes, None, level)).tolist()
        differences[name] = Difference(
            value, other_values[name], change, low, high, _p_value(changes)
        )
    return Comparison(differences, level, samples, redrawn, len(names))


def _values(
    histograms: Sequence[ScoreHistogram], weights: np.ndarray | None = None
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The metrics of all images, and those of resamples `(R, n)` if given."""
    all_images = np.ones((1, len(histograms)))
    rows = all_images if weights is None else np.concatenate([all_images, weights])
    metrics = resampled_metrics(histograms, rows)
    values = {name: float(row[0]) for name, row in metrics.items()}
    return values, {name: row[1:] for name, row in metrics.items()}


def _jackknife(histograms: Sequence[ScoreHistogram]) -> dict[str, np.ndarray] | None:
    """The metrics without each image in turn; None, with a warning, where one is undefined."""
    n = len(histograms)
    metrics = resampled_metrics(histograms, np.ones((n, n)) - np.eye(n))
    if all(np.isfinite(values).all() for values in metrics.values()):
        return metrics
    warnings.warn(
        "a class has pixels in one image alone, so BCa intervals are undefined; percentile "
        "intervals are given instead",
        stacklevel=3,
    )
    return None


def _quantiles(
    value: float, resampled: np.ndarray, jackknife: np.ndarray | None, level: float
) -> list[float]:
    """Shares of the resamples that lie below the two bounds (equations 14.9 to 14.15)."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    if jackknife is None:
        return tails
    normal = NormalDist()
    # Ties count half; the share is kept off 0 and 1, whose quantile is infinite.
    below = np.mean(resampled < value) + np.mean(resampled == value) / 2
    edge = 0.5 / resampled.size
    bias = normal.inv_cdf(float(np.clip(below, edge, 1 - edge)))
    influence = jackknife.mean() - jackknife
    spread = np.sum(influence**2)
    acceleration = np.sum(influence**3) / (6 * spread**1.5) if spread else 0.0
    moved = [bias + normal.inv_cdf(tail) for tail in tails]
    return [normal.cdf(bias + one / (1 - acceleration * one)) for one in moved]


def _p_value(changes: np.ndarray) -> float:
    fewer = min(np.count_nonzero(changes <= 0), np.count_nonzero(changes >= 0))
    return min(1.0, 2 * (1 + fewer) / (1 + changes.size))


def _check_arguments(histograms: Sequence[ScoreHistogram], samples: int, level: float) -> None:
    if not len(histograms):
        raise ValueError("bootstrap expects a histogram for each image, got none")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")


def _can_resample(histograms: Sequence[ScoreHistogram]) -> bool:
    """Whether intervals are defined; warns of the reason where they are not."""
    num_known = sum(part.num_known for part in histograms)
    num_anomalous = sum(part.num_anomalous for part in histograms)
    if len(histograms) > 1 and num_known and num_anomalous:
        return True
    reason = (
        "one image alone shows no spread between images"
        if num_known and num_anomalous
        else f"a class is absent ({num_known} known, {num_anomalous} anomalous pixels)"
    )
    warnings.warn(f"no confidence interval: {reason}; its bounds are NaN", stacklevel=3)
    return False


def _matched_names(
    first: Mapping[str, ScoreHistogram], second: Mapping[str, ScoreHistogram]
) -> list[str]:
    """Names of both, sorted; raises where the two do not cover the same pixels."""
    for ours, theirs, where in ((first, second, "second"), (second, first, "first")):
        missing = sorted(set(ours) - set(theirs))
        if missing:
            shown = ", ".join(missing[:_LISTED]) + (", ..." if missing[_LISTED:] else "")
            raise ValueError(
                f"{len(missing)} images are missing in the {where} method: {shown}; compare two "
                "methods on the same images"
            )
    names = sorted(first)
    differing = [
        name
        for name in names
        if first[name].num_known != second[name].num_known
        or first[name].num_anomalous != second[name].num_anomalous
    ]
    if differing:
        raise ValueError(
            f"{len(differing)} images have other numbers of known and anomalous pixels in the two "
            f"methods, first {differing[0]}; evaluate both with the same ground truth"
        )
    return names
