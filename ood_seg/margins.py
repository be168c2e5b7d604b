"""Advice on the margins of the energy losses, from the energies of a pre-trained model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_seg.metrics.histogram import ScoreHistogram

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class EnergySummary:
    """Energies of one kind of pixels.

    Attributes:
        count: number of pixels.
        mean: mean energy.
        quantiles: energies below which 5, 25, 50, 75 and 95 % of the pixels lie.
    """

    count: int
    mean: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Margins:
    """A pair of margins and how many pixels it would move.

    Attributes:
        margin_in: `m_in`; known pixels above it are pushed down.
        margin_out: `m_out`; outlier pixels below it are pushed up.
        active_known: share of the known pixels above `m_in`, 0 to 1.
        active_outliers: share of the outlier pixels below `m_out`, 0 to 1.
    """

    margin_in: float
    margin_out: float
    active_known: float
    active_outliers: float


def summaries(histogram: ScoreHistogram) -> tuple[EnergySummary, EnergySummary]:
    """Summaries of the known and of the anomalous pixels, as fine as the bins of the histogram.

    Raises:
        ValueError: a kind has no pixel.
    """
    energies = histogram.middle
    return (
        _summary(energies, histogram.known, "known"),
        _summary(energies, histogram.anomalous, "outlier"),
    )


def suggest_margins(histogram: ScoreHistogram) -> dict[str, Margins]:
    """Two pairs of margins to start from.

    `means` is the rule of thumb of Liu et al., "Energy-based Out-of-distribution Detection",
    NeurIPS 2020: the mean pre-trained energies of known and of outlier data. About half of the
    pixels satisfy it from the start, so little is left to learn where the two kinds overlap.
    `wide` takes the 5 % quantile of the known and the 95 % quantile of the outlier energies: 95 %
    of the pixels of each kind have work to do.

    Args:
        histogram: energies under the pre-trained model; known pixels and pasted outliers.

    Raises:
        ValueError: a kind has no pixel.
    """
    known, outliers = summaries(histogram)
    return {
        "means": at_margins(histogram, known.mean, outliers.mean),
        "wide": at_margins(histogram, known.quantiles[0], outliers.quantiles[-1]),
    }


def at_margins(histogram: ScoreHistogram, margin_in: float, margin_out: float) -> Margins:
    """Shares of the pixels of each kind that a pair of margins would move."""
    energies = histogram.middle
    known, outliers = histogram.known, histogram.anomalous
    return Margins(
        float(margin_in),
        float(margin_out),
        float(known[energies > margin_in].sum() / max(known.sum(), 1)),
        float(outliers[energies < margin_out].sum() / max(outliers.sum(), 1)),
    )


def _summary(energies: np.ndarray, counts: np.ndarray, kind: str) -> EnergySummary:
    total = int(counts.sum())
    if not total:
        raise ValueError(
            f"no {kind} pixel among the scenes: check that the training pipeline pastes outliers "
            "(PasteOutliers) and that its labels hold known classes"
        )
    cumulative = np.cumsum(counts)
    places = np.searchsorted(cumulative, np.ceil(np.array(_QUANTILES) * total))
    quantiles = tuple(float(value) for value in energies[places])
    return EnergySummary(total, float(energies @ counts / total), quantiles)
