"""How well a curve fits: the reliability of its probabilities, on other images where possible."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from ood_seg.calibration.curves import (
    IsotonicCurve,
    LogisticCurve,
    ScoreCounts,
    fit_curve,
    score_counts,
)
from ood_seg.calibration.reliability import Reliability, reliability
from ood_seg.metrics.histogram import ScoreHistogram


def held_out_reliability(
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


def fitted_reliability(curve: LogisticCurve | IsotonicCurve, counts: ScoreCounts) -> Reliability:
    """Reliability of a curve on given counts."""
    return reliability(*_probabilities(curve, counts))


def uncalibrated_reliability(counts: ScoreCounts) -> Reliability:
    """Reliability of the scores themselves, scaled linearly unless they lie in [0, 1]."""
    low, high = counts.scores[0], counts.scores[-1]
    inside = low >= 0 and high <= 1
    scaled = counts.scores if inside else (counts.scores - low) / (high - low)
    return reliability(scaled, *counts[1:])


def _probabilities(
    curve: LogisticCurve | IsotonicCurve, counts: ScoreCounts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the scores, with the counts at each."""
    return curve(torch.from_numpy(counts.scores)).numpy(), counts.known, counts.anomalous
