"""Published rules for FPR95 other than ours (the first threshold with TPR >= 95 %).

Each takes the `RankCounts` of at least one known and one anomalous pixel and returns a fraction.
They differ on ties, and where few anomalous pixels make the ROC rise in large steps.
"""

from __future__ import annotations

import numpy as np

from ood_seg.metrics.ranking import RankCounts


def fpr95_nearest_recall(counts: RankCounts) -> float:
    """Recall nearest to 0.95, which may be less; the highest recall of equally near ones.

    Of the thresholds with that recall the lowest counts, just above the next anomalous score;
    for full recall the highest. So the known pixels down there are false positives as well.
    """
    recall, fpr, fpr_before = _rates(counts)
    nearest = int(np.argmin(np.abs(recall - 0.95)))
    return fpr[0] if nearest == 0 else fpr_before[nearest - 1]


def fpr95_interpolated(counts: RankCounts) -> float:
    """On the straight line of the ROC; its last point where it runs along a recall of 0.95."""
    recall, fpr, fpr_before = _rates(counts)
    # From the highest score down: each group begins where the one before has ended.
    corners_fpr = np.stack([fpr_before, fpr], 1)[::-1].ravel()
    before = np.concatenate([recall[1:], [0.0]])
    corners_tpr = np.stack([before, recall], 1)[::-1].ravel()
    return np.interp(0.95, corners_tpr, corners_fpr)


def fpr95_above(counts: RankCounts) -> float:
    """First corner of the ROC with a recall above 0.95, not equal to it.

    A point between equal steps is no corner: scikit-learn drops it, but for the first point.
    """
    recall, fpr, fpr_before = _rates(counts)
    known, anomalous = counts.known_equal, counts.anomalous
    adjacent = counts.known_below[1:] == counts.known_below[:-1] + known[:-1]
    equal_step = (known[1:] == known[:-1]) & (anomalous[1:] == anomalous[:-1])
    corner = np.concatenate([[True], ~(adjacent & equal_step)])
    corner[-1] |= fpr_before[-1] == 0
    return fpr[np.flatnonzero(corner & (recall > 0.95))[-1]]


def _rates(counts: RankCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall and FPR at each group, and FPR just above it; by ascending score, `(D,)` each."""
    true_positives = np.cumsum(counts.anomalous[::-1])[::-1]
    false_positives = counts.num_known - counts.known_below
    before = false_positives - counts.known_equal
    return (
        true_positives / true_positives[0],
        false_positives / counts.num_known,
        before / counts.num_known,
    )
