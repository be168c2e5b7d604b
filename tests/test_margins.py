"""Margin advice on energies whose means and quantiles are known."""

import numpy as np
import pytest

from ood_seg.margins import at_margins, suggest_margins, summaries
from ood_seg.metrics.histogram import ScoreHistogram

ENERGIES = np.array([-10.0, -8.0, -6.0, -4.0, -4.0, -2.0, 0.0, 2.0])
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 255])


def test_hand_worked():
    histogram = ScoreHistogram.from_scores(ENERGIES, LABELS)
    known, outliers = summaries(histogram)
    assert (known.count, known.mean) == (4, -7.0)
    assert known.quantiles == (-10.0, -10.0, -8.0, -6.0, -4.0)
    assert (outliers.count, outliers.mean) == (3, -2.0)
    assert outliers.quantiles[-1] == 0.0
    advice = suggest_margins(histogram)
    assert (advice["means"].margin_in, advice["means"].margin_out) == (-7.0, -2.0)
    assert advice["means"].active_known == 0.5
    assert advice["means"].active_outliers == pytest.approx(1 / 3)
    assert (advice["wide"].margin_in, advice["wide"].margin_out) == (-10.0, 0.0)
    assert advice["wide"].active_known == 0.75
    both = at_margins(histogram, -100.0, 100.0)
    assert (both.active_known, both.active_outliers) == (1.0, 1.0)


def test_equals_numpy_on_many_energies():
    rng = np.random.default_rng(0)
    energies = rng.normal(-8, 2, 40_000)
    energies[:3000] += 4
    labels = np.zeros(40_000, int)
    labels[:3000] = 1
    known, outliers = summaries(ScoreHistogram.from_scores(energies, labels))
    for summary, values in ((known, energies[3000:]), (outliers, energies[:3000])):
        assert summary.mean == pytest.approx(values.mean(), rel=1e-3)
        expected = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95), method="inverted_cdf")
        assert summary.quantiles == pytest.approx(expected.tolist(), rel=1e-3)


def test_a_kind_without_pixels_is_named():
    with pytest.raises(ValueError, match="no outlier pixel"):
        suggest_margins(ScoreHistogram.from_scores(ENERGIES[:4], LABELS[:4]))
