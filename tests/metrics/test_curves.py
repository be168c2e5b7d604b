"""Curves against scikit-learn's, and the metrics that thinned curves give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from ood_seg.metrics import PixelMetrics
from ood_seg.metrics.curves import metrics_of_curves, pixel_curves

TPRS = (0.5, 0.95, 0.999)
NAMES = ("auroc", "ap", "fpr50", "fpr95", "fpr99.9", "best_f1")


def collected(scores, labels, mode="exact") -> PixelMetrics:
    metrics = PixelMetrics(mode)
    metrics.update(scores, labels)
    return metrics


def scene(size: int, fraction: float, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores, anomalies higher by `gap`."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < fraction).astype(np.uint8)
    return rng.standard_normal(size, dtype=np.float32) + np.float32(gap) * labels, labels


def metrics_and_curve(metrics: PixelMetrics, **options) -> tuple[dict, dict]:
    """The metrics, and what a curve gives for them."""
    expected = metrics.compute(tprs=TPRS, best_f1=True)
    expected.pop("best_f1_threshold")
    curves = pixel_curves(metrics.rank_counts(), tprs=TPRS, **options)
    return expected, metrics_of_curves(curves, tprs=TPRS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 1)), min_size=2, max_size=60),
    st.sampled_from([None, 1e-6]),
)
def test_metrics_of_curves_of_anything(pixels, tolerance):
    scores, labels = np.array(pixels).T
    if set(labels) != {0, 1}:
        return
    expected, read = metrics_and_curve(collected(scores, labels), tolerance=tolerance)
    assert tuple(expected) == tuple(read) == NAMES
    assert read == pytest.approx(expected, abs=1e-12 if tolerance is None else 1e-6)


@pytest.mark.parametrize(
    ("fraction", "gap"), [(0.0025, 2), (0.0025, 5), (0.05, 2), (0.3, 0.5), (0.05, 0), (0.05, -1)]
)
def test_thinned_curves_are_short_and_keep_the_metrics(fraction, gap):
    metrics = collected(*scene(300_000, fraction, gap))
    counts = metrics.rank_counts()
    expected, read = metrics_and_curve(metrics)
    assert read == pytest.approx(expected, abs=1e-6)
    for name in ("fpr50", "fpr95", "fpr99.9", "best_f1"):
        assert read[name] == pytest.approx(expected[name], abs=1e-14)
    thinned, whole = pixel_curves(counts, tprs=TPRS), pixel_curves(counts, tolerance=None)
    assert max(thinned.fpr.size, thinned.recall.size) < 1500
    # Every corner is one of the whole curve, and the thinned line runs close to it.
    assert set(zip(thinned.fpr, thinned.tpr, strict=True)) <= set(
        zip(whole.fpr, whole.tpr, strict=True)
    )
    drawn = np.interp(whole.fpr, thinned.fpr, thinned.tpr)
    assert np.abs(drawn - whole.tpr)[np.diff(whole.fpr, append=2) > 0].max() < 0.02


def test_smaller_tolerance_is_kept_as_well():
    expected, read = metrics_and_curve(collected(*scene(100_000, 0.02, 2)), tolerance=1e-9)
    assert read == pytest.approx(expected, abs=1e-9)


def test_corners_are_those_of_sklearn():
    scores, labels = scene(2000, 0.1, 1)
    scores = scores.round(1)
    curves = pixel_curves(collected(scores, labels).rank_counts(), tolerance=None)
    fpr, tpr, _ = roc_curve(labels, scores)
    points = set(zip(curves.fpr.round(12), curves.tpr.round(12), strict=True))
    rises = np.flatnonzero(np.diff(tpr)) + 1
    assert set(zip(fpr[rises].round(12), tpr[rises].round(12), strict=True)) <= points
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    at_anomalies = np.isin(thresholds, scores[labels == 1])
    points = set(zip(curves.recall.round(12), curves.precision.round(12), strict=True))
    expected = zip(recall[:-1].round(12), precision[:-1].round(12), strict=True)
    assert {point for point, at in zip(expected, at_anomalies, strict=True) if at} <= points


def test_by_hand():
    curves = pixel_curves(collected([4, 3, 2, 1], [1, 0, 1, 0]).rank_counts())
    assert curves.recall.tolist() == [0, 0.5, 0.5, 1]
    assert curves.precision.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert set(zip(curves.fpr.tolist(), curves.tpr.tolist(), strict=True)) == {
        (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)
    }  # fmt: skip


def test_streamed_counts():
    metrics = collected(*scene(200_000, 0.02, 2), mode="streaming")
    expected, read = metrics_and_curve(metrics)
    assert read == pytest.approx(expected, abs=1e-4)


def test_no_anomaly_no_corner():
    curves = pixel_curves(collected([1.0, 2.0], [0, 0]).rank_counts())
    assert all(array.size == 0 for array in curves)
    assert np.isnan(list(metrics_of_curves(curves).values())).all()


def test_rate_out_of_range():
    with pytest.raises(ValueError, match=r"fractions of 1 \(0.95 for 95 %\), got 95"):
        pixel_curves(collected([1.0, 2.0], [0, 1]).rank_counts(), tprs=(95,))
