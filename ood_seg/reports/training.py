"""Tables and histogram bins of `estimate-outlier-prior` and `suggest-margins`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.reports.tables import Table

if TYPE_CHECKING:
    from ood_seg.margins import EnergySummary, Margins
    from ood_seg.metrics.histogram import ScoreHistogram


def prior_table(priors: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Table:
    """Return priors in percent, classes in descending order of the first prior.

    Args:
        priors: by name, `(C,)` each, summing to one.
        classes: name of each class.
    """
    first = next(iter(priors.values()))
    rows = [
        (classes[index], *(f"{100 * prior[index]:.2f}" for prior in priors.values()))
        for index in sorted(range(len(classes)), key=lambda index: -first[index])
    ]
    return Table("Outlier prior (%)", ("class", *priors), rows)


def energies_table(known: EnergySummary, outliers: EnergySummary) -> Table:
    """Return number, mean and quantiles of the energies of both kinds of pixels."""
    rows = [
        (name, str(row.count), *(f"{value:.2f}" for value in (row.mean, *row.quantiles)))
        for name, row in (("known", known), ("outlier", outliers))
    ]
    header = ("pixels", "number", "mean", "5 %", "25 %", "50 %", "75 %", "95 %")
    return Table("Energy under the pre-trained model", header, rows)


def margins_table(margins: Mapping[str, Margins]) -> Table:
    """Return pairs of margins with the share of the pixels that each would move."""
    rows = [
        (
            name,
            f"{pair.margin_in:.2f}",
            f"{pair.margin_out:.2f}",
            f"{100 * pair.active_known:.1f} %",
            f"{100 * pair.active_outliers:.1f} %",
        )
        for name, pair in margins.items()
    ]
    header = ("margins", "m_in", "m_out", "known pixels moved", "outlier pixels moved")
    return Table("Margins", header, rows)


def equal_bins(
    histogram: ScoreHistogram, number: int = 80
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a histogram over bins of equal width, for a plot.

    Returns:
        Edges `(number + 1,)`, and the counts of known and of anomalous pixels `(number,)`.
    """
    values = histogram.lowest.astype(float)
    edges = np.linspace(values.min(), values.max() + 1e-6, number + 1)
    known, anomalous = (
        np.histogram(values, edges, weights=weights)[0]
        for weights in (histogram.known, histogram.anomalous)
    )
    return edges, known, anomalous
