"""`ScoreHistogram`: what an evaluation keeps of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics.checks import checked_arrays
from ood_seg.metrics.keys import KEY_BITS, bin_edges, score_keys
from ood_seg.metrics.ranking import RankCounts

FEWEST_BITS = 9

# Up to this many bins between the lowest and the highest score a table beats sorting.
_LARGEST_TABLE = 2**22


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Counts of known and anomalous pixels over bins of their scores; empty bins are left out.

    A bin is the top `bits` bits of the score's key (`ood_seg.metrics.keys`), so it needs no range
    and drops no value. With 20 bits it is 0.05 % of the score wide; with 32 each float32 score
    has its own. An image of 2048x1024 takes some ten thousand bins of 24 bytes.

    Attributes:
        bins: numbers of the occupied bins, ascending, int64 `(B,)`.
        known: known pixels in each, int64 `(B,)`.
        anomalous: anomalous pixels in each, int64 `(B,)`.
        bits: bits of a bin number, 9 to 32.
        num_ignored: pixels left out.
    """

    bins: np.ndarray
    known: np.ndarray
    anomalous: np.ndarray
    bits: int
    num_ignored: int = 0

    @classmethod
    def from_scores(
        cls, scores: Any, labels: Any, *, bits: int = 20, ignore_index: int = IGNORE
    ) -> ScoreHistogram:
        """Count the pixels of one or more score maps.

        Args:
            scores: anomaly scores of any shape, higher means more anomalous; tensor or array.
                Float64 scores are rounded to float32 (`score_keys`).
            labels: same shape: 0 known, 1 anomaly, `ignore_index` for pixels to leave out.
            bits: 9 to 32.
            ignore_index: label of the pixels to leave out.

        Raises:
            ValueError: shapes differ, a score is NaN or infinite, a label has another value, or
                `bits` is out of range.
            TypeError: scores or labels are not real numbers.
        """
        if not FEWEST_BITS <= bits <= KEY_BITS:
            raise ValueError(f"bits must be {FEWEST_BITS} to {KEY_BITS}, got {bits}")
        scores, labels = checked_arrays(scores, labels, ignore_index)
        known = count_bins(scores[labels == KNOWN], bits)
        anomalous = count_bins(scores[labels == ANOMALY], bits)
        num_ignored = int(np.count_nonzero(labels == ignore_index))
        none = np.zeros(0, np.int64)
        return _summed(
            [(known[0], known[1], none), (anomalous[0], none, anomalous[1])], bits, num_ignored
        )

    @classmethod
    def merged(cls, histograms: Iterable[ScoreHistogram]) -> ScoreHistogram:
        """The histogram of all pixels of several.

        Raises:
            ValueError: there is none, or they differ in `bits`.
        """
        histograms = list(histograms)
        bits = sorted({histogram.bits for histogram in histograms})
        if len(bits) != 1:
            raise ValueError(
                f"merged expects histograms of one number of bits, got {len(histograms)} "
                f"histograms with bits {bits}"
            )
        return _summed(
            [(part.bins, part.known, part.anomalous) for part in histograms],
            bits[0],
            sum(part.num_ignored for part in histograms),
        )

    def lower(self) -> np.ndarray:
        """Smallest float32 score in each bin, `(B,)`."""
        return bin_edges(self.bins, self.bits)[0]

    def upper(self) -> np.ndarray:
        """Largest float32 score in each bin, `(B,)`."""
        return bin_edges(self.bins, self.bits)[1]

    @property
    def num_known(self) -> int:
        """Known pixels."""
        return int(self.known.sum())

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels."""
        return int(self.anomalous.sum())

    def rank_counts(self) -> RankCounts:
        """What metrics, their bounds and curves are computed from (`metrics_from_counts`)."""
        groups = np.flatnonzero(self.anomalous)
        known_equal = self.known[groups]
        return RankCounts(
            anomalous=self.anomalous[groups],
            known_below=np.cumsum(self.known)[groups] - known_equal,
            known_equal=known_equal,
            num_known=self.num_known,
            scores=self.lower()[groups],
            unresolved=np.ones(groups.size, bool) if self.bits < KEY_BITS else None,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays for `np.savez`; `from_arrays` reads them back."""
        return {
            "bins": self.bins,
            "known": self.known,
            "anomalous": self.anomalous,
            "bits": np.int64(self.bits),
            "num_ignored": np.int64(self.num_ignored),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ScoreHistogram:
        """The histogram that `to_arrays` gave.

        Raises:
            ValueError: an array is missing, or they do not fit together.
        """
        names = ("bins", "known", "anomalous", "bits", "num_ignored")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"a histogram needs the arrays {names}; missing: {missing}")
        counts = [np.asarray(arrays[name], np.int64) for name in names[:3]]
        if any(array.ndim != 1 or array.shape != counts[0].shape for array in counts):
            shapes = [array.shape for array in counts]
            raise ValueError(f"bins, known and anomalous must have one shape (B,), got {shapes}")
        return cls(*counts, int(arrays["bits"]), int(arrays["num_ignored"]))


def count_bins(scores: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Occupied bins, ascending, and how many of the flat `scores` lie in each; int64 `(B,)`."""
    if not scores.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bins = score_keys(scores)
    bins >>= np.uint32(KEY_BITS - bits)
    first = int(bins.min())
    if int(bins.max()) - first >= _LARGEST_TABLE:
        occupied, counts = np.unique(bins, return_counts=True)
        return occupied.astype(np.int64), counts
    bins -= np.uint32(first)
    table = np.bincount(bins)
    occupied = np.flatnonzero(table)
    return occupied + first, table[occupied]


def _summed(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], bits: int, num_ignored: int
) -> ScoreHistogram:
    """Add the counts of `(bins, known, anomalous)`; an empty count stands for zeros."""
    bins = np.unique(np.concatenate([part[0] for part in parts]))
    totals = np.zeros((2, bins.size), np.int64)
    for part_bins, *counts in parts:
        places = np.searchsorted(bins, part_bins)
        for total, count in zip(totals, counts, strict=True):
            if count.size:
                total[places] += count  # the bins of one part differ, so no place repeats
    return ScoreHistogram(bins, totals[0], totals[1], bits, num_ignored)
