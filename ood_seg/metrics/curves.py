"""Precision-recall and ROC curves, thinned without moving a metric.

A curve is a line through corners. The ROC has a corner before and after each group of equal
anomalous scores. Average precision is a sum of steps, so the precision-recall curve has two
corners for each group: precision changes first, at the recall reached so far, and is then kept
while the recall grows. The area below such a line (trapezoid rule) is the AUROC and AP exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ood_seg.metrics.rank_metrics import metric_names
from ood_seg.metrics.ranking import RankCounts

# Widest piece of a thinned curve along its axes, so that it looks as the whole curve does.
_WIDEST = 1 / 256


class Curves(NamedTuple):
    """Corners of both curves, from the highest threshold to the lowest, float64.

    Attributes:
        fpr: false-positive rates, rising, `(R,)`.
        tpr: true-positive rates, rising, `(R,)`.
        recall: rising, `(P,)`.
        precision: `(P,)`.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


def pixel_curves(
    counts: RankCounts, *, tprs: Sequence[float] = (0.95,), tolerance: float | None = 1e-6
) -> Curves:
    """Both curves; what `metrics_of_curves` reads from them are the metrics.

    Args:
        counts: from `PixelMetrics.rank_counts` or `ScoreHistogram.rank_counts`. The curves of
            streamed counts go through the ends of the groups.
        tprs: true-positive rates whose false-positive rate stays exact.
        tolerance: how far the areas may move; best F1 and `tprs` do not. None thins nothing.

    Returns:
        Some hundred corners each for a real score map, more where the curve is ragged; no corner
        where a class has no pixel.

    Raises:
        ValueError: a true-positive rate is not in (0, 1].
    """
    metric_names(tprs, best_f1=False)  # checks the rates
    num_anomalous = int(counts.anomalous.sum())
    if not counts.num_known or not num_anomalous:
        return Curves(*np.zeros((4, 0)))
    tp = np.cumsum(counts.anomalous[::-1])
    fp = (counts.num_known - counts.known_below)[::-1]
    recall, precision = tp / num_anomalous, tp / (tp + fp)
    recall_before = np.concatenate([[0.0], recall[:-1]])
    fpr = np.stack([fp - counts.known_equal[::-1], fp], 1).ravel() / counts.num_known
    fpr = np.concatenate([[0.0], fpr, [1.0]])
    tpr = np.concatenate([[0.0], np.stack([recall_before, recall], 1).ravel(), [1.0]])
    corners = Curves(
        fpr,
        tpr,
        np.stack([recall_before, recall], 1).ravel(),
        np.repeat(precision, 2),
    )
    if tolerance is None:
        return corners
    crossings = [int(np.argmax(recall >= tpr)) for tpr in tprs]
    best = int(np.argmax(tp / (tp + fp + num_anomalous)))
    on_roc = _thinned(corners.fpr, corners.tpr, [2 * k + 2 for k in crossings], tolerance)
    on_pr = _thinned(corners.recall, corners.precision, [2 * best + 1], tolerance)
    return Curves(fpr[on_roc], tpr[on_roc], corners.recall[on_pr], corners.precision[on_pr])


def metrics_of_curves(curves: Curves, *, tprs: Sequence[float] = (0.95,)) -> dict[str, float]:
    """'auroc', 'ap', the false-positive rates of `tprs` and 'best_f1', read from the curves."""
    names = [*metric_names(tprs, best_f1=False), "best_f1"]
    if not curves.fpr.size:
        return dict.fromkeys(names, float("nan"))
    total = curves.precision + curves.recall
    f1 = 2 * curves.precision * curves.recall / np.maximum(total, np.finfo(float).tiny)
    rates = [curves.fpr[np.argmax(curves.tpr >= tpr)] for tpr in tprs]
    areas = _areas(curves.fpr, curves.tpr).sum(), _areas(curves.recall, curves.precision).sum()
    return dict(zip(names, map(float, (*areas, *rates, f1.max())), strict=True))


def _areas(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Area below each piece of the line."""
    return np.diff(x) * (y[1:] + y[:-1]) / 2


def _thinned(x: np.ndarray, y: np.ndarray, kept: list[int], tolerance: float) -> np.ndarray:
    """Indices of corners to keep, so that the area below the line moves by less than `tolerance`.

    From each corner the line goes straight to the farthest one for which the error of the area
    so far, errors of both signs taken together, stays below the share of `tolerance` that the
    way on the x axis has earned.
    """
    area = np.concatenate([[0.0], np.cumsum(_areas(x, y))])
    stops = sorted({*kept, x.size - 1})
    indices, error = [0], 0.0

    def error_after(corner: int) -> float:
        start = indices[-1]
        straight = (x[corner] - x[start]) * (y[corner] + y[start]) / 2
        return error + straight - (area[corner] - area[start])

    def may_skip_to(corner: int) -> bool:
        allowed = tolerance / 2 * (0.1 + 0.9 * x[corner])
        near = abs(y[corner] - y[indices[-1]]) <= _WIDEST or corner - indices[-1] < 2
        return near and abs(error_after(corner)) <= allowed

    for stop in stops:
        while indices[-1] < stop:
            start = indices[-1]
            reach = int(np.searchsorted(x, x[start] + _WIDEST, side="right"))
            # The error does not grow evenly, so this finds a far corner, not always the farthest.
            near, far = start + 1, max(start + 1, min(stop, reach))
            while near < far:
                middle = (near + far + 1) // 2
                near, far = (middle, far) if may_skip_to(middle) else (near, middle - 1)
            error = error_after(near)
            indices.append(near)
    return np.array(indices)
