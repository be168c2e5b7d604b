"""`ScoreHistogram`: counts of known and anomalous pixels by score, in bounded memory.

Intervals, comparisons, calibration, operating points and streamed metrics are computed from it.
Up to `EXACT_BINS` distinct scores have a bin each. Beyond that there are two ways to join bins:

- by rank (`from_scores`, `merged`): which scores share a bin depends on their order alone, so a
  strictly rising change of all scores (a shift, a scale, a sigmoid) changes no result. Known
  pixels count at the highest score of their bin, anomalous ones at the lowest of theirs: at every
  threshold the false-positive rate and the miss rate are overstated by at most 1 / `RESOLUTION`
  of themselves, and never understated.
- by the bits of the score (`ood_seg.metrics.streaming`), which does not depend on the order in
  which the scores arrive and leaves bins that do not overlap, so that metrics have bounds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics.checks import ascending, checked_arrays
from ood_seg.metrics.ranking import RankCounts

# 2**15 bins take 768 KiB.
EXACT_BINS = 2**15

# An image of 2048x1024 that has more distinct scores than that is left with some 20 000 bins.
RESOLUTION = 2**11

_ARRAYS = ("lowest", "highest", "known", "anomalous", "num_ignored")


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Counts of known and anomalous pixels over bins of their scores; empty bins are left out.

    Attributes:
        lowest: lowest score in each bin, ascending, float32 or float64 `(B,)`.
        highest: highest score in each bin, `(B,)`; equal to `lowest` unless the histogram comes
            from `ScoreTable`.
        known: known pixels in each, int64 `(B,)`.
        anomalous: anomalous pixels in each, int64 `(B,)`.
        num_ignored: pixels left out.
    """

    lowest: np.ndarray
    highest: np.ndarray
    known: np.ndarray
    anomalous: np.ndarray
    num_ignored: int = 0

    @classmethod
    def from_scores(
        cls, scores: Any, labels: Any, *, ignore_index: int = IGNORE, bits: int | None = None
    ) -> ScoreHistogram:
        """Count the pixels of one or more score maps.

        Args:
            scores: anomaly scores of any shape, higher means more anomalous; tensor or array.
            labels: same shape: 0 known, 1 anomaly, `ignore_index` for pixels to leave out.
            ignore_index: label of the pixels to leave out.
            bits: deprecated, without effect: the bins adapt to the scores.

        Raises:
            ValueError: shapes differ, a score is NaN or infinite, or a label has another value.
            TypeError: scores or labels are not real numbers.
        """
        if bits is not None:
            warnings.warn(
                f"bits={bits} has no effect: the bins of a ScoreHistogram adapt to the scores; "
                "the argument will be removed in the next version",
                DeprecationWarning,
                stacklevel=2,
            )
        scores, labels = checked_arrays(scores, labels, ignore_index)
        known, anomalous = scores[labels == KNOWN], scores[labels == ANOMALY]
        return cls.from_classes(known, anomalous, scores.size - known.size - anomalous.size)

    @classmethod
    def from_classes(
        cls, known: np.ndarray, anomalous: np.ndarray, num_ignored: int = 0
    ) -> ScoreHistogram:
        """Count finite scores, float32 or float64, that are already separated by class."""
        whole = joined([_counted(known, KNOWN), _counted(anomalous, ANOMALY)])
        return replace(_limited(whole), num_ignored=num_ignored)

    @classmethod
    def of_class(
        cls, label: int, counts: np.ndarray, lowest: np.ndarray, highest: np.ndarray | None = None
    ) -> ScoreHistogram:
        """Bins of pixels of one class; without `highest` each of them holds one score."""
        both = [counts, np.zeros_like(counts)]
        return cls(lowest, lowest if highest is None else highest, both[label], both[1 - label])

    @classmethod
    def merged(cls, histograms: Iterable[ScoreHistogram]) -> ScoreHistogram:
        """The histogram of all pixels of several.

        Where bins are joined once more, rates may be overstated by another 1 / `RESOLUTION`.

        Raises:
            ValueError: there is none.
        """
        histograms = list(histograms)
        if not histograms:
            raise ValueError("merged expects at least one histogram, got none")
        return _limited(joined(histograms))

    @property
    def num_known(self) -> int:
        """Known pixels."""
        return int(self.known.sum())

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels."""
        return int(self.anomalous.sum())

    @property
    def middle(self) -> np.ndarray:
        """Middle of each bin, float64 `(B,)`."""
        return (self.lowest.astype(np.float64) + self.highest) / 2

    def lower(self) -> np.ndarray:
        """Deprecated: `lowest`."""
        _warn_renamed("lower()", "lowest")
        return self.lowest

    def upper(self) -> np.ndarray:
        """Deprecated: `highest`."""
        _warn_renamed("upper()", "highest")
        return self.highest

    def rank_counts(self) -> RankCounts:
        """Counts from which metrics, their bounds and curves are computed."""
        groups = np.flatnonzero(self.anomalous)
        known_equal = self.known[groups]
        unresolved = self.lowest[groups] < self.highest[groups]
        return RankCounts(
            anomalous=self.anomalous[groups],
            known_below=np.cumsum(self.known)[groups] - known_equal,
            known_equal=known_equal,
            num_known=self.num_known,
            scores=self.lowest[groups],
            unresolved=unresolved if unresolved.any() else None,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays for `np.savez`; `from_arrays` reads them back."""
        return {name: np.asarray(getattr(self, name)) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ScoreHistogram:
        """The histogram that `to_arrays` gave.

        Raises:
            ValueError: an array is missing, or they do not fit together.
        """
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise ValueError(f"a histogram needs the arrays {_ARRAYS}; missing: {missing}")
        lowest, highest, known, anomalous, num_ignored = (np.asarray(arrays[n]) for n in _ARRAYS)
        shapes = [part.shape for part in (lowest, highest, known, anomalous)]
        if lowest.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"{_ARRAYS[:-1]} must have one shape (B,), got {shapes}")
        return cls(lowest, highest, known, anomalous, int(num_ignored))


def _warn_renamed(old: str, new: str) -> None:
    warnings.warn(
        f"ScoreHistogram.{old} is now the attribute `{new}`; the old name will be removed in the "
        "next version",
        DeprecationWarning,
        stacklevel=3,
    )


def joined(
    parts: Sequence[ScoreHistogram], bin_of: Callable[[np.ndarray], np.ndarray] | None = None
) -> ScoreHistogram:
    """All pixels of several histograms in common bins.

    Args:
        parts: at least one, of bins that do not overlap or are parts of the common bins.
        bin_of: from the lowest scores of bins to the numbers of the common bins, ascending with
            the score; None: each distinct score is a bin.
    """
    lowest = np.concatenate([part.lowest for part in parts])
    order = np.argsort(lowest, kind="stable")  # of ascending runs: they are merged, not sorted
    lowest = lowest[order]
    starts = run_starts(lowest if bin_of is None else bin_of(lowest))

    def gathered(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])[order]

    def summed(counts: np.ndarray) -> np.ndarray:
        # Several times faster than np.add.reduceat.
        return np.diff(np.concatenate([[0], np.cumsum(counts)])[np.append(starts, order.size)])

    highest = gathered("highest")
    return ScoreHistogram(
        lowest[starts],
        np.maximum.reduceat(highest, starts) if starts.size < order.size else highest,
        summed(gathered("known")),
        summed(gathered("anomalous")),
        sum(part.num_ignored for part in parts),
    )


def clusters(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of consecutive scores, by rank alone.

    The `RESOLUTION` first pixels keep their own score. From there on a cluster spans ranks that
    differ by a factor of 1 + 1 / `RESOLUTION`. The last score is a cluster of its own, so that
    the range of the scores is kept.

    Args:
        ranks: pixels up to and at each score, `(B,)`, from the end where resolution matters most.

    Returns:
        Ascending indices of the first occupied score of each cluster, and its pixels, int64
        `(C,)` each; none where there is no pixel.
    """
    total = int(ranks[-1]) if ranks.size else 0
    starts = np.unique(np.searchsorted(ranks, _first_pixels(total), side="right"))
    preceding = np.where(starts > 0, ranks[starts - 1], 0)
    return starts, np.diff(preceding, append=total)


def _first_pixels(total: int) -> np.ndarray:
    """Pixels, by rank from 0 to `total - 1`, whose scores begin the clusters; see `clusters`."""
    steps = np.arange(RESOLUTION * np.log(max(total / RESOLUTION, 1)) + 1)
    spaced = (RESOLUTION * np.exp(steps / RESOLUTION)).astype(np.int64)
    pixels = np.concatenate([np.arange(RESOLUTION), spaced, [total - 1]])
    return pixels[(pixels >= 0) & (pixels < total)]


def run_starts(values: np.ndarray) -> np.ndarray:
    """Indices at which a value differs from the one before; the first always does."""
    changes = np.ones(values.size, bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def _counted(scores: np.ndarray, label: int) -> ScoreHistogram:
    """Histogram of one class, of clusters where it has too many distinct scores."""
    scores = ascending(scores)
    if np.count_nonzero(scores[1:] != scores[:-1]) < EXACT_BINS:
        starts = run_starts(scores)
        ends = np.append(starts[1:], scores.size)
        return ScoreHistogram.of_class(label, ends - starts, scores[starts])
    return _counted_in_clusters(scores, label)


def _counted_in_clusters(scores: np.ndarray, label: int) -> ScoreHistogram:
    """As `_clustered`, from the ascending scores of all pixels; it looks at some 20 000 of them."""
    first = _first_pixels(scores.size)
    if label == ANOMALY:
        starts = np.unique(np.searchsorted(scores, scores[first]))
        return ScoreHistogram.of_class(label, np.diff(starts, append=scores.size), scores[starts])
    found = scores[scores.size - 1 - first]
    ends = np.unique(np.searchsorted(scores, found, side="right"))
    starts = np.searchsorted(scores, scores[ends - 1])
    return ScoreHistogram.of_class(label, np.diff(ends, prepend=0), scores[starts])


def _limited(histogram: ScoreHistogram) -> ScoreHistogram:
    """The histogram, with each class in clusters where there are too many distinct scores."""
    if histogram.lowest.size <= EXACT_BINS:
        return histogram
    from_top = np.cumsum(histogram.known[::-1])[::-1]
    classes = [
        _clustered(histogram.lowest, from_top, KNOWN),
        _clustered(histogram.lowest, np.cumsum(histogram.anomalous), ANOMALY),
    ]
    return replace(joined(classes), num_ignored=histogram.num_ignored)


def _clustered(scores: np.ndarray, ranks: np.ndarray, label: int) -> ScoreHistogram:
    """One class with all pixels at the first score of their cluster.

    What matters is the share of known pixels above a threshold and of anomalous ones below it. So
    known pixels rank from the top, anomalous ones from the bottom.

    Args:
        scores: ascending, `(B,)`.
        ranks: pixels from that end up to and at each score, `(B,)`.
        label: 0 known, 1 anomaly.
    """
    order = slice(None) if label == ANOMALY else slice(None, None, -1)
    starts, sizes = clusters(ranks[order])
    return ScoreHistogram.of_class(label, sizes[order], scores[order][starts][order])
