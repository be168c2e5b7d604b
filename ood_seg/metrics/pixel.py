"""Exact pixel metrics: AUROC, average precision and FPR95, pooled over all valid pixels.

    scores, labels -> split_scores -> known scores, anomalous scores, number of ignored pixels
    known, anomalous -> _rank_anomalous -> how many known scores lie below and at each distinct
                                           anomalous score
    these counts -> _metrics_from_counts -> {"auroc", "ap", "fpr95"}

All three metrics change only at the anomalous scores. So the known pixels, nearly all of a road
scene, are never sorted as a whole nor copied as a whole: they pass by in pieces, each is sorted
alone, and the anomalous scores are looked up in it. That is exact, because such counts add up.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics.checks import checked_arrays, checked_parts

MODES = ("exact",)

# Pixels per piece. 2**18 float32 scores (1 MiB) are sorted within a core's own cache.
_PIECE = 2**18

# Beyond this the pieces are not selected fast enough to keep more threads busy.
_MOST_THREADS = 8


class SplitScores(NamedTuple):
    """The valid scores of one or more images, apart by class.

    Attributes:
        known: scores of known pixels, shape `(K,)`, float32 or float64.
        anomalous: scores of anomalous pixels, shape `(A,)`, same type.
        num_ignored: number of pixels left out.
    """

    known: np.ndarray
    anomalous: np.ndarray
    num_ignored: int


class RankCounts(NamedTuple):
    """Where the anomalous scores stand among the known ones.

    Attributes:
        anomalous: anomalous pixels at each distinct anomalous score, ascending, shape `(D,)`.
        known_below: known pixels with a lower score, shape `(D,)`.
        known_equal: known pixels with the same score, shape `(D,)`.
        num_known: known pixels in total.
    """

    anomalous: np.ndarray
    known_below: np.ndarray
    known_equal: np.ndarray
    num_known: int


def pixel_metrics(scores: Any, labels: Any, *, ignore_index: int = IGNORE) -> dict[str, float]:
    """AUROC, average precision and FPR95 over all valid pixels, anomaly positive.

    AUROC counts a tie between a known and an anomalous pixel as one half. Average precision is
    the step-wise sum `sum_k (R_k - R_{k-1}) P_k` over the distinct scores. FPR95 is the
    false-positive rate at the first, i.e. highest, threshold whose true-positive rate is at least
    95 %. Pixels with equal scores pass a threshold together. Every strictly rising change of the
    scores leaves all three as they are; they need not lie in [0, 1].

    Args:
        scores: anomaly scores of any shape, higher means more anomalous; tensor or array.
            float16 and bfloat16 are raised to float32, whole numbers to float64.
        labels: same shape: 0 known, 1 anomaly, `ignore_index` for pixels to leave out.
        ignore_index: label of the pixels to leave out.

    Returns:
        `{"auroc", "ap", "fpr95"}` as fractions of 1; all NaN, with a warning, where one of the
        two classes has no pixel. The inputs are not changed.

    Raises:
        ValueError: shapes differ, a score is NaN or infinite, or a label has another value.
        TypeError: scores or labels are not real numbers.

    Example:
        >>> pixel_metrics([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])["auroc"]
        0.75
    """
    scores, labels = checked_arrays(scores, labels, ignore_index)
    pieces = list(_slices(scores.size))
    anomalous = np.concatenate([scores[s][labels[s] == ANOMALY] for s in pieces] or [scores])
    num_known = sum(np.count_nonzero(labels[s] == KNOWN) for s in pieces)
    known = (scores[s][labels[s] == KNOWN] for s in pieces)
    return _metrics_from_counts(_rank_anomalous(known, anomalous, num_known))


def metrics_from_scores(
    known: np.ndarray | Sequence[np.ndarray], anomalous: np.ndarray | Sequence[np.ndarray]
) -> dict[str, float]:
    """The same metrics from scores that are already apart by class.

    Args:
        known: scores of known pixels, an array of any shape or a sequence of such (for example
            one per image, which are then never joined into one).
        anomalous: scores of anomalous pixels, likewise.

    Returns:
        As `pixel_metrics`. The inputs are not changed.

    Raises:
        ValueError: a score is NaN or infinite.
        TypeError: scores are not real numbers.
    """
    known, anomalous = checked_parts(known), checked_parts(anomalous)
    joined = np.concatenate(anomalous) if anomalous else np.empty(0, np.float32)
    return _metrics_from_counts(_rank_anomalous(known, joined, sum(part.size for part in known)))


def split_scores(scores: Any, labels: Any, *, ignore_index: int = IGNORE) -> SplitScores:
    """Copy the scores of known and of anomalous pixels apart; arguments as in `pixel_metrics`."""
    scores, labels = checked_arrays(scores, labels, ignore_index)
    known, anomalous = scores[labels == KNOWN], scores[labels == ANOMALY]
    return SplitScores(known, anomalous, scores.size - known.size - anomalous.size)


class PixelMetrics:
    """Collects scores image by image; `compute` gives the metrics over all pixels so far.

    The result depends neither on the order of the updates nor on how the pixels are divided among
    updates and merged objects. Memory: the valid scores, 4 bytes per pixel for float32.

    Args:
        mode: 'exact', the only one so far.

    Raises:
        ValueError: another mode.
    """

    def __init__(self, mode: str = "exact") -> None:
        if mode not in MODES:
            known_modes = ", ".join(repr(name) for name in MODES)
            raise ValueError(f"PixelMetrics has no mode {mode!r}; available: {known_modes}")
        self.mode = mode
        self._known: list[np.ndarray] = []
        self._anomalous: list[np.ndarray] = []
        self._num_ignored = 0

    def update(self, scores: Any, labels: Any, *, ignore_index: int = IGNORE) -> None:
        """Add the pixels of one or more images; arguments and errors as in `pixel_metrics`."""
        self.add(split_scores(scores, labels, ignore_index=ignore_index))

    def add(self, split: SplitScores) -> None:
        """Add scores that `split_scores` has checked and divided."""
        self._known.append(split.known)
        self._anomalous.append(split.anomalous)
        self._num_ignored += split.num_ignored

    def merge(self, other: PixelMetrics) -> None:
        """Add all pixels of `other`, which stays as it is.

        Raises:
            TypeError: `other` is no `PixelMetrics`.
        """
        if not isinstance(other, PixelMetrics):
            raise TypeError(f"merge expects a PixelMetrics, got {type(other).__name__}")
        self._known.extend(other._known)
        self._anomalous.extend(other._anomalous)
        self._num_ignored += other._num_ignored

    def compute(self) -> dict[str, float]:
        """Metrics over all pixels so far, as `pixel_metrics` gives them; may be called again."""
        return metrics_from_scores(self._known, self._anomalous)

    @property
    def num_known(self) -> int:
        """Known pixels so far."""
        return sum(part.size for part in self._known)

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels so far."""
        return sum(part.size for part in self._anomalous)

    @property
    def num_ignored(self) -> int:
        """Ignored pixels so far."""
        return self._num_ignored


def _rank_anomalous(
    known: Iterable[np.ndarray], anomalous: np.ndarray, num_known: int
) -> RankCounts:
    """Count the known scores below and at every distinct anomalous score.

    `known` is read once, in order; at most one piece per thread and one in waiting are in memory.
    Pieces hold several times as many scores as are looked up in each, so that looking up stays
    cheaper than sorting even where half of all pixels are anomalous.
    """
    distinct, counts = np.unique(anomalous, return_counts=True)
    below = np.zeros(distinct.size, np.int64)
    equal = np.zeros(distinct.size, np.int64)
    workers = min(torch.get_num_threads(), _MOST_THREADS)
    pending: deque = deque()

    def collect() -> None:
        piece_below, tied, piece_equal = pending.popleft().result()
        np.add(below, piece_below, out=below)
        equal[tied] += piece_equal

    # NumPy lets go of the interpreter lock while it sorts and searches, so threads do help.
    with ThreadPoolExecutor(workers) as pool:
        for piece in _regroup(known, max(_PIECE, 4 * distinct.size)):
            pending.append(pool.submit(_rank_in_piece, piece, distinct))
            if len(pending) > workers:
                collect()
        while pending:
            collect()
    return RankCounts(counts, below, equal, num_known)


def _rank_in_piece(
    piece: np.ndarray, distinct: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of `piece` below each of `distinct`; which of these are tied; how many tie there."""
    ordered = np.sort(piece)
    below = np.searchsorted(ordered, distinct, side="left")
    # Most anomalous scores tie with no score of the piece: only the others need a second search.
    tied = np.flatnonzero(ordered[np.minimum(below, ordered.size - 1)] == distinct)
    equal = np.searchsorted(ordered, distinct[tied], side="right") - below[tied]
    return below, tied, equal


def _metrics_from_counts(counts: RankCounts) -> dict[str, float]:
    """The three metrics; NaN with a warning where a class is absent."""
    num_known, num_anomalous = counts.num_known, int(counts.anomalous.sum())
    if not num_known or not num_anomalous:
        _warn_absent_class(num_known, num_anomalous)
        return {"auroc": float("nan"), "ap": float("nan"), "fpr95": float("nan")}
    weights = counts.anomalous / num_anomalous
    # At the threshold t everything with a score >= t is called anomalous.
    true_positives = np.cumsum(counts.anomalous[::-1])[::-1]
    false_positives = num_known - counts.known_below
    precision = true_positives / (true_positives + false_positives)
    # Whole numbers decide about "at least 95 %": 19 of 20 suffice, whatever 0.95 rounds to.
    enough = np.flatnonzero(20 * true_positives >= 19 * num_anomalous)
    return {
        "auroc": float(weights @ ((counts.known_below + counts.known_equal / 2) / num_known)),
        "ap": float(weights @ precision),
        "fpr95": float(false_positives[enough[-1]] / num_known),
    }


def _warn_absent_class(num_known: int, num_anomalous: int) -> None:
    """Warn that the metrics are NaN, name the class without pixels and what to look at."""
    absent = [
        f"{name} pixel (label {value})"
        for name, value, count in (
            ("known", KNOWN, num_known),
            ("anomalous", ANOMALY, num_anomalous),
        )
        if not count
    ]
    warnings.warn(
        f"no {' and no '.join(absent)} in the ground truth ({num_known} known, {num_anomalous} "
        "anomalous): AUROC, AP and FPR95 are NaN. Check the values in the label files and the "
        "label mapping of the data set.",
        stacklevel=4,
    )


def _slices(size: int) -> Iterator[slice]:
    """Consecutive slices of one piece each that cover `size` items."""
    return (slice(start, start + _PIECE) for start in range(0, size, _PIECE))


def _regroup(arrays: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cut long flat arrays and join short ones: pieces of 1/2 to 3/2 `length`, the last of less.

    A whole array that fits is passed on as it is, without a copy.
    """
    waiting: list[np.ndarray] = []
    size = 0
    for array in arrays:
        for start in range(0, array.size, length):
            waiting.append(array[start : start + length])
            size += waiting[-1].size
            if 2 * size >= length:
                yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
