"""Checks of what the pixel metrics are given; all return flat NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ood_seg.arrays import as_numpy
from ood_seg.labels import ANOMALY, KNOWN


def checked_arrays(scores: Any, labels: Any, ignore_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as flat arrays of the same length, views of the input where possible.

    Scores of ignored pixels that are NaN or infinite are 0 in the result.

    Raises:
        ValueError: shapes differ, a score that counts is NaN or infinite, or a label is none of 0,
            1 and `ignore_index`.
        TypeError: scores or labels are not real numbers.
    """
    scores, labels = as_numpy(scores), as_numpy(labels)
    if scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must have one shape, got {scores.shape} and {labels.shape}; "
            "resize the score map to the size of the ground truth"
        )
    if labels.dtype.kind not in "biuf":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    labels = labels.reshape(-1)
    _check_labels(labels, ignore_index)
    return _checked_scores(scores, labels == ignore_index), labels


def checked_parts(scores: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """One array, or each of a sequence of arrays, as a flat array of finite scores.

    Raises:
        ValueError: a score is NaN or infinite.
        TypeError: scores are not real numbers.
    """
    is_sequence_of_arrays = isinstance(scores, Sequence) and not any(
        np.isscalar(part) for part in scores
    )
    parts = scores if is_sequence_of_arrays else [scores]
    return [_checked_scores(as_numpy(part)) for part in parts]


def above(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Boolean mask of the scores above a threshold, compared in double precision.

    In single precision a threshold between two float32 numbers would be rounded to one of them.

    Raises:
        ValueError: the threshold is None.
    """
    if threshold is None:
        raise ValueError("threshold: scores need a number, got None")
    return np.greater(scores, threshold, signature="dd->?")


def ascending(scores: np.ndarray) -> np.ndarray:
    """Flat finite scores in ascending order; the array itself where it is in order already."""
    if all(np.all(part[1:] >= part[:-1]) for part in (scores[:1000], scores)):
        return scores
    return np.sort(scores)


def _checked_scores(scores: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Flat finite scores, float32 or float64, in which every input value is exact.

    Args:
        scores: any shape.
        ignored: flat, boolean: where scores that are not finite become 0.
    """
    if scores.dtype.kind not in "biuf":
        raise TypeError(f"scores must be real numbers, got {scores.dtype}")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32 if scores.dtype == np.float16 else np.float64)
    scores = scores.reshape(-1)
    if not _all_finite(scores) and ignored is not None:
        scores = np.where(ignored & ~np.isfinite(scores), scores.dtype.type(0), scores)
    if not _all_finite(scores):
        raise ValueError(
            f"scores must be finite, got {np.isnan(scores).sum()} NaN and "
            f"{np.isinf(scores).sum()} infinite values among {scores.size}; look for an overflow "
            "in the model (half precision?) or a diverged training"
        )
    return scores


def _all_finite(scores: np.ndarray) -> bool:
    # NaN and infinity both show in the extremes, which need no memory of their own.
    return not scores.size or bool(np.isfinite(scores.min()) and np.isfinite(scores.max()))


def _check_labels(labels: np.ndarray, ignore_index: int) -> None:
    """Raise a ValueError that lists every label value without a meaning, with its count."""
    if ignore_index in (KNOWN, ANOMALY):
        raise ValueError(
            f"ignore_index must differ from {KNOWN} (known) and {ANOMALY} (anomaly), "
            f"got {ignore_index}"
        )
    accepted = (KNOWN, ANOMALY, ignore_index)
    if sum(np.count_nonzero(labels == value) for value in accepted) == labels.size:
        return
    values, counts = np.unique(labels, return_counts=True)
    unknown = ", ".join(
        f"{value} ({count} pixels)"
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        if value not in accepted
    )
    raise ValueError(
        f"labels must be {KNOWN} (known), {ANOMALY} (anomaly) or {ignore_index} (ignored), "
        f"got also {unknown}; map the label values of the dataset to these first"
    )
