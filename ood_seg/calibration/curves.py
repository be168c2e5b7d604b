"""Fits of the probability that a pixel is anomalous, given its score.

Both fits take scores with counts, so that a dataset of any size costs as much as its histogram:

    histograms -> score_counts -> fit_logistic (Platt, temperature) or fit_isotonic -> curve
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ood_seg.metrics.histogram import ScoreHistogram

METHODS = ("platt", "temperature", "isotonic")
NO_CURVE = "none"

_STEPS = 500
_DAMPING = 1e-3


class PixelCounts(NamedTuple):
    """Pixels of the calibration images."""

    known: int
    anomalous: int
    ignored: int


class ScoreCounts(NamedTuple):
    """Counts of pixels by score.

    Attributes:
        scores: ascending, float64 `(B,)`.
        known: known pixels at each, `(B,)`.
        anomalous: anomalous pixels at each, `(B,)`.
    """

    scores: np.ndarray
    known: np.ndarray
    anomalous: np.ndarray


@dataclass(frozen=True)
class LogisticCurve:
    """`p(s) = sigmoid(slope * s + offset)`; approaches 0 and 1 outside the fitted range."""

    slope: float
    offset: float

    def __call__(self, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores * self.slope + self.offset)

    def with_odds_times(self, ratio: float) -> LogisticCurve:
        """The curve whose odds `p / (1 - p)` are `ratio` times these."""
        return LogisticCurve(self.slope, self.offset + float(np.log(ratio)))


@dataclass(frozen=True)
class IsotonicCurve:
    """Straight lines between knots; constant below the first and above the last.

    Attributes:
        scores: strictly ascending, `(K,)`.
        probabilities: never falling, in [0, 1], `(K,)`.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, scores: Tensor) -> Tensor:
        knots, values = (scores.new_tensor(part) for part in (self.scores, self.probabilities))
        right = torch.searchsorted(knots, scores.contiguous(), right=True)
        left = (right - 1).clamp(min=0)
        right = right.clamp(max=knots.numel() - 1)
        gap = knots[right] - knots[left]
        share = (scores - knots[left]) / torch.where(gap > 0, gap, 1)
        low, high = values[left], values[right]
        # Rounding may step over the end of a line by one unit, which would break monotony.
        return torch.minimum(low + share.clamp(0, 1) * (high - low), high)

    def with_odds_times(self, ratio: float) -> IsotonicCurve:
        """The curve whose odds `p / (1 - p)` at the knots are `ratio` times these."""
        p = np.array(self.probabilities)
        return IsotonicCurve(self.scores, tuple((ratio * p / (ratio * p + 1 - p)).tolist()))


def score_counts(histograms: Sequence[ScoreHistogram]) -> ScoreCounts:
    """Pooled counts of histograms; a bin is represented by its middle.

    Raises:
        ValueError: no histograms.
    """
    merged = ScoreHistogram.merged(histograms)
    return ScoreCounts(merged.middle, merged.known, merged.anomalous)


def chosen_method(name: str | None, histograms: Sequence[ScoreHistogram]) -> str | None:
    """The method of `calibrate` that a user chose.

    Args:
        name: one of `METHODS`, or `none`; None: `platt`, or none, with a warning, where no pixel
            is anomalous.
        histograms: of the calibration images.
    """
    if name is not None:
        return None if name == NO_CURVE else name
    if any(part.num_anomalous for part in histograms):
        return "platt"
    warnings.warn(
        "no pixel is anomalous: operating points by their FPR alone, and no probability; if there "
        "should be anomalies, check the label mapping",
        stacklevel=3,
    )
    return None


def fit_curve(counts: ScoreCounts, method: str) -> LogisticCurve | IsotonicCurve:
    """The fit of a method in `METHODS`; raises as the fits do, or for another method."""
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if method == "isotonic":
        return fit_isotonic(counts)
    return fit_logistic(counts, offset=method == "platt")


def fit_logistic(counts: ScoreCounts, *, offset: bool = True) -> LogisticCurve:
    """Maximum-likelihood logistic curve of the score, every pixel of weight 1.

    With an offset it is Platt's (1999) scaling; without one, temperature scaling of a score that
    is a log-odds already (slope = 1 / temperature). Scores that separate the classes perfectly
    have no finite fit: then, with a warning, the targets are Platt's `(A + 1) / (A + 2)` for the
    A anomalous and `1 / (K + 2)` for the K known pixels (his equation 1), which have one.

    Raises:
        ValueError: a class is absent; all scores are equal; or the probability would fall with
            the score.
    """
    _check_counts(counts)
    x, known, anomalous = (np.asarray(part, np.float64) for part in counts)
    total, num_known, num_anomalous = (known + anomalous).sum(), known.sum(), anomalous.sum()
    weights = known + anomalous
    centre = (x @ weights) / total if offset else 0.0
    spread = float(np.sqrt((x - centre) ** 2 @ weights / total))
    # The loss is convex: its slope at 0 (at the best constant) tells the sign of the fit.
    rise = (x - centre) @ (anomalous if offset else anomalous - known)
    if not rise > 0:
        raise ValueError(
            "the anomaly probability would not rise with the score; "
            + (
                "are the scores inverted (higher must mean more anomalous)?"
                if offset
                else "temperature scaling needs a log-odds score, negative for known pixels: "
                "use method 'platt'"
            )
        )
    targets = 0.0, 1.0
    if _are_separated(x, known, anomalous, offset=offset):
        warnings.warn(
            "the scores separate the classes perfectly, so the slope has no finite estimate; "
            "Platt's smoothed targets are fitted instead",
            stacklevel=2,
        )
        targets = 1 / (num_known + 2), (num_anomalous + 1) / (num_anomalous + 2)
    design = np.stack([(x - centre) / spread, np.ones_like(x)])[: 1 + offset]
    start = np.array([0.0, np.log(num_anomalous / num_known)])[: 1 + offset]
    positives = known * targets[0] + anomalous * targets[1]
    found = _minimum(design, weights, positives, start)
    slope = float(found[0] / spread)
    return LogisticCurve(slope, float(found[1] - slope * centre) if offset else 0.0)


def fit_isotonic(counts: ScoreCounts) -> IsotonicCurve:
    """Isotonic regression: the never-falling probabilities of least squared error.

    Pool-adjacent-violators (Barlow et al., 1972): neighbours whose anomaly rate falls are joined.

    Raises:
        ValueError: a class is absent, or all scores are equal.
    """
    _check_counts(counts)
    blocks: list[tuple[int, int, float, float]] = []  # anomalous, all, first and last score
    for score, known, anomalous in zip(*(part.tolist() for part in counts), strict=True):
        if not known + anomalous:
            continue
        block = (anomalous, known + anomalous, score, score)
        # Integers compare without rounding: a / n >= b / m.
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2], block[3])
        blocks.append(block)
    knots = [
        (score, part / total)
        for part, total, first, last in blocks
        for score in ([first] if first == last else [first, last])
    ]
    scores, probabilities = zip(*knots, strict=True)
    return IsotonicCurve(scores, probabilities)


def _minimum(
    design: np.ndarray, weights: np.ndarray, positives: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Maximum-likelihood q of `sigmoid(q @ design)` for `positives` out of `weights`; convex.

    Newton's method, damped as Levenberg and Marquardt do: where scores saturate there is no
    curvature left, and bare Newton steps would be of any length.
    """

    def loss(parameters: np.ndarray) -> float:
        z = parameters @ design
        return float((weights - positives) @ np.logaddexp(0, z) + positives @ np.logaddexp(0, -z))

    def derivatives(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = torch.sigmoid(torch.from_numpy(parameters @ design)).numpy()
        return design @ (weights * p - positives), (design * (weights * p * (1 - p))) @ design.T

    parameters, current, damping = start, loss(start), _DAMPING
    scale, eps = np.diag(np.diag(derivatives(start)[1])), float(np.finfo(float).eps)
    rarer = min(positives.sum(), weights.sum() - positives.sum())
    for _ in range(_STEPS):
        gradient, curvature = derivatives(parameters)
        step = np.linalg.solve(curvature + damping * scale, gradient)
        lower = loss(parameters - step)
        rounding = 100 * eps * current  # of sums over as many scores
        if lower > current + rounding:
            damping *= 10
            continue
        parameters, current = parameters - step, lower
        # The error that is left is far below this step, which itself barely moved the loss.
        if damping <= _DAMPING and gradient @ step <= 1e-14 * rarer + rounding:
            return parameters
        damping = max(damping / 10, eps)
    raise ValueError("the logistic fit did not converge; use method 'isotonic'")


def _are_separated(
    x: np.ndarray, known: np.ndarray, anomalous: np.ndarray, *, offset: bool
) -> bool:
    highest, lowest = x[known > 0].max(), x[anomalous > 0].min()
    return bool(highest <= lowest if offset else highest <= 0 <= lowest)


def _check_counts(counts: ScoreCounts) -> None:
    num_known, num_anomalous = int(counts.known.sum()), int(counts.anomalous.sum())
    if not num_known or not num_anomalous:
        raise ValueError(
            f"calibration needs pixels of both classes, got {num_known} known and "
            f"{num_anomalous} anomalous; check the label mapping or take other images"
        )
    occupied = counts.scores[(counts.known + counts.anomalous) > 0]
    if not np.isfinite(occupied).all():
        raise ValueError("scores must be finite, got NaN or infinite ones")
    if occupied.min() == occupied.max():
        raise ValueError(
            f"all scores are equal ({occupied[0]:g}): they do not separate anomalies; look for "
            "a constant output or a range lost while saving"
        )


def with_prior(
    curve: LogisticCurve | IsotonicCurve, prior: float, assumed: float
) -> LogisticCurve | IsotonicCurve:
    """The curve for another share of anomalous pixels than that of the calibration images.

    Args:
        curve: fitted where that share is `prior`.
        prior: in (0, 1).
        assumed: the share to be expected in use, in (0, 1).

    Raises:
        ValueError: an assumed share outside of that.
    """
    if not 0 < assumed < 1:
        raise ValueError(f"assumed_prior must lie between 0 and 1, got {assumed}")
    return curve.with_odds_times(assumed / (1 - assumed) / (prior / (1 - prior)))
