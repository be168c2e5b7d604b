"""Pixel metrics: AUROC, average precision, FPR at a TPR, best F1; pooled over all valid pixels.

scores, labels -> split_scores -> known scores, anomalous scores, number of ignored pixels
exact:     known, anomalous -> ranking.rank_anomalous -> RankCounts
streaming: known, anomalous -> streaming.ScoreTable   -> RankCounts
RankCounts -> rank_metrics.metrics_from_counts -> {"auroc", "ap", "fpr95"}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics import streaming
from ood_seg.metrics.checks import checked_arrays, checked_parts
from ood_seg.metrics.rank_metrics import bounds_from_counts, metrics_with_hints
from ood_seg.metrics.ranking import RankCounts, rank_anomalous, slices
from ood_seg.metrics.streaming import ScoreTable

MODES = ("exact", "streaming", "auto")


class SplitScores(NamedTuple):
    """The valid scores of one or more images, separated by class.

    Attributes:
        known: scores of known pixels, shape `(K,)`, float32 or float64.
        anomalous: scores of anomalous pixels, shape `(A,)`, same type.
        num_ignored: number of pixels left out.
    """

    known: np.ndarray
    anomalous: np.ndarray
    num_ignored: int


def pixel_metrics(
    scores: Any,
    labels: Any,
    *,
    ignore_index: int = IGNORE,
    tprs: Sequence[float] = (0.95,),
    best_f1: bool = False,
) -> dict[str, float]:
    """AUROC, average precision and FPR95 over all valid pixels, anomaly positive; exact.

    AUROC counts a tie between a known and an anomalous pixel as one half. Average precision is
    the step-wise sum `sum_k (R_k - R_{k-1}) P_k` over the distinct scores. FPR95 is the
    false-positive rate at the first, i.e. highest, threshold whose true-positive rate is at least
    95 %. Pixels with equal scores pass a threshold together. Every strictly rising change of the
    scores leaves all three unchanged; scores need not lie in [0, 1].

    Memory: beside the input the anomalous scores, a few pieces of 2**18 pixels and, where it
    helps, a table of at most 2 bytes a known pixel.

    Args:
        scores: anomaly scores of any shape, higher means more anomalous; tensor or array.
            float16 and bfloat16 are raised to float32, integers to float64.
        labels: same shape: 0 known, 1 anomaly, `ignore_index` for pixels to leave out.
        ignore_index: label of the pixels to leave out.
        tprs: true-positive rates at which the false-positive rate is taken; 0.995 gives
            'fpr99.5'.
        best_f1: also 'best_f1', the highest F1 of all thresholds, and 'best_f1_threshold', the
            highest score that gives it (pixels with this score or more are called anomalous).

    Returns:
        `{"auroc", "ap", "fpr95"}` as fractions of 1, and the optional metrics; all NaN, with a
        warning, where one of the two classes has no pixel. An AUROC below 0.3 gives a warning as
        well: the sign of the scores may be wrong; it is never changed here.

    Raises:
        ValueError: shapes differ, a score is NaN or infinite, a label has another value, or a
            true-positive rate is not in (0, 1].
        TypeError: scores or labels are not real numbers.

    Example:
        >>> pixel_metrics([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0])["auroc"]
        0.75
    """
    scores, labels = checked_arrays(scores, labels, ignore_index)
    pieces = list(slices(scores.size))
    anomalous = np.concatenate([scores[s][labels[s] == ANOMALY] for s in pieces] or [scores])
    num_known = sum(int(np.count_nonzero(labels[s] == KNOWN)) for s in pieces)
    known = (scores[s][labels[s] == KNOWN] for s in pieces)
    return metrics_with_hints(rank_anomalous(known, anomalous, num_known), tprs, best_f1)


def metrics_from_scores(
    known: np.ndarray | Sequence[np.ndarray],
    anomalous: np.ndarray | Sequence[np.ndarray],
    *,
    tprs: Sequence[float] = (0.95,),
    best_f1: bool = False,
) -> dict[str, float]:
    """The same metrics from scores that are already separated by class.

    Args:
        known: scores of known pixels, an array of any shape or a sequence of such (for example
            one per image, which are then never joined into one).
        anomalous: scores of anomalous pixels, in the same form.
        tprs: as in `pixel_metrics`.
        best_f1: as in `pixel_metrics`.

    Returns:
        As `pixel_metrics`. The inputs are not changed.

    Raises:
        ValueError: a score is NaN or infinite.
        TypeError: scores are not real numbers.
    """
    counts = _rank_parts(checked_parts(known), checked_parts(anomalous))
    return metrics_with_hints(counts, tprs, best_f1)


def split_scores(scores: Any, labels: Any, *, ignore_index: int = IGNORE) -> SplitScores:
    """Copies of the scores of known and of anomalous pixels; arguments as in `pixel_metrics`."""
    scores, labels = checked_arrays(scores, labels, ignore_index)
    known, anomalous = scores[labels == KNOWN], scores[labels == ANOMALY]
    return SplitScores(known, anomalous, scores.size - known.size - anomalous.size)


class PixelMetrics:
    """Collects scores image by image; `compute` gives the metrics over all pixels so far.

    The result depends neither on the order of the updates nor on how the pixels are divided among
    updates and merged objects. Objects can be pickled, sent to another process and merged there.

    Args:
        mode: 'exact' keeps the valid scores, 4 bytes per pixel for float32. 'streaming' keeps
            counts over fine bins (`ood_seg.metrics.streaming`): less than 64 MiB in all, whatever
            the number of images and the range of the scores; `compute` then gives values close to
            the exact ones (AP within 0.01 points), `bounds` ranges that contain them.
            Float64 scores are rounded to float32 there. 'auto' is exact until the scores take
            more than `memory` and streams from then on.
        memory: bytes that 'auto' may collect.

    Raises:
        ValueError: another mode.
    """

    def __init__(self, mode: str = "exact", *, memory: int = 2 * 2**30) -> None:
        if mode not in MODES:
            known_modes = ", ".join(repr(name) for name in MODES)
            raise ValueError(f"PixelMetrics has no mode {mode!r}; available: {known_modes}")
        self.mode = mode
        self.memory = memory
        self._known: list[np.ndarray] = []
        self._anomalous: list[np.ndarray] = []
        self._num_ignored = 0
        self._table = ScoreTable() if mode == "streaming" else None

    @property
    def mode_used(self) -> str:
        """'exact' or 'streaming': how the numbers are computed at present."""
        return "exact" if self._table is None else "streaming"

    def update(self, scores: Any, labels: Any, *, ignore_index: int = IGNORE) -> None:
        """Add the pixels of one or more images; arguments and errors as in `pixel_metrics`."""
        if self._table is None:
            self.add(split_scores(scores, labels, ignore_index=ignore_index))
            return
        scores, labels = checked_arrays(scores, labels, ignore_index)
        for s in slices(scores.size, streaming.PIECE):  # without a copy of the image
            known, anomalous = scores[s][labels[s] == KNOWN], scores[s][labels[s] == ANOMALY]
            ignored = labels[s].size - known.size - anomalous.size
            self.add(SplitScores(known, anomalous, ignored))

    def add(self, split: SplitScores) -> None:
        """Add scores that `split_scores` has checked and divided."""
        self._num_ignored += split.num_ignored
        if self._table is not None:
            self._table.add(split.known, split.anomalous)
            return
        self._known.append(split.known)
        self._anomalous.append(split.anomalous)
        if self.mode == "auto" and self._collected_bytes() > self.memory:
            self._streaming_table()

    def merge(self, other: PixelMetrics) -> None:
        """Add all pixels of `other`, which stays as it is.

        Raises:
            TypeError: `other` is not a `PixelMetrics`.
            ValueError: this one is exact, but `other` has counts only.
        """
        if not isinstance(other, PixelMetrics):
            raise TypeError(f"merge expects a PixelMetrics, got {type(other).__name__}")
        if other._table is not None:
            if self.mode == "exact":
                raise ValueError(
                    "a PixelMetrics of mode 'exact' cannot take in one that streams, whose scores "
                    "are gone; merge into one of mode 'streaming' or 'auto'"
                )
            self._streaming_table().merge(other._table)
        for known, anomalous in list(zip(other._known, other._anomalous, strict=True)):
            self.add(SplitScores(known, anomalous, 0))
        self._num_ignored += other._num_ignored

    def all_reduce(self, group: Any = None, device: str | torch.device = "cpu") -> None:
        """Give every process of `torch.distributed` the pixels of all; see `ScoreTable`.

        The mode 'auto' streams from here on, also where it was exact.

        Raises:
            ValueError: the mode is 'exact'.
        """
        if self.mode == "exact":
            raise ValueError(
                "all_reduce needs counts of a fixed size; use mode 'streaming', or gather the "
                "objects of all processes and merge them"
            )
        self._streaming_table().all_reduce(group)
        ignored = torch.tensor(self._num_ignored, device=device)
        torch.distributed.all_reduce(ignored, group=group)
        self._num_ignored = int(ignored)

    def compute(
        self, *, tprs: Sequence[float] = (0.95,), best_f1: bool = False
    ) -> dict[str, float]:
        """Metrics over all pixels so far, as `pixel_metrics` gives them; may be called again."""
        return metrics_with_hints(self.rank_counts(), tprs, best_f1)

    def bounds(
        self, *, tprs: Sequence[float] = (0.95,), best_f1: bool = False
    ) -> dict[str, tuple[float, float]]:
        """For each metric a range that contains its exact value.

        With float64 scores in streaming mode that is the value of the scores rounded to float32.
        """
        return bounds_from_counts(self.rank_counts(), tprs=tprs, best_f1=best_f1)

    def rank_counts(self) -> RankCounts:
        """Counts from which metrics and curves (`ood_seg.metrics.curves`) are computed."""
        if self._table is not None:
            return self._table.rank_counts()
        return _rank_parts(self._known, self._anomalous)

    @property
    def num_known(self) -> int:
        """Known pixels so far."""
        if self._table is not None:
            return self._table.num_known
        return sum(part.size for part in self._known)

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels so far."""
        if self._table is not None:
            return self._table.num_anomalous
        return sum(part.size for part in self._anomalous)

    @property
    def num_ignored(self) -> int:
        """Ignored pixels so far."""
        return self._num_ignored

    def _collected_bytes(self) -> int:
        return sum(part.nbytes for part in (*self._known, *self._anomalous))

    def _streaming_table(self) -> ScoreTable:
        """Replace the collected scores by counts, and return these."""
        if self._table is None:
            self._table = ScoreTable()
            while self._known:
                self._table.add(self._known.pop(), self._anomalous.pop())
        return self._table


def _rank_parts(known: Sequence[np.ndarray], anomalous: Sequence[np.ndarray]) -> RankCounts:
    joined = np.concatenate(anomalous) if anomalous else np.empty(0, np.float32)
    return rank_anomalous(known, joined, sum(part.size for part in known))
