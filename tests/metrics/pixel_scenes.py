"""Random scenes and scikit-learn's answer to them, for the tests of the pixel metrics."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve


def sklearn_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The three metrics by scikit-learn; the curve is not thinned, thinning may drop its point."""
    scores, labels = scores[labels != 255], labels[labels != 255]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "fpr95": fpr[np.flatnonzero(tpr >= 0.95)[0]],
    }


def random_pixels(kind: str, shape=(3, 40, 50), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores in which anomalies lie higher, and labels with a tenth ignored."""
    rng = np.random.default_rng(seed)
    fraction = {"skewed": 0.002, "half": 0.5}.get(kind, 0.1)
    labels = (rng.random(shape) < fraction).astype(np.uint8)
    labels.reshape(-1)[:2] = [0, 1]
    labels[rng.random(shape) < 0.1] = 255
    scores = rng.normal(size=shape) + (labels == 1)
    if kind == "tied":
        scores = scores.round(1)
    if kind == "constant":
        scores = np.full(shape, -7.25)
    return scores.astype(np.float32), labels


KINDS = ("random", "half", "skewed", "tied", "constant")
