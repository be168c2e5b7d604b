"""Ranks of the anomalous scores among the known ones: all that the pixel metrics depend on.

All of them change only at the anomalous scores. So the known pixels, nearly all of a road scene,
are never sorted as a whole nor copied as a whole: they pass by in pieces. Where the anomalous
scores span few enough float32 numbers, each of these has a counter (`KeyTable`). Else a piece is
sorted alone, and the anomalous scores are looked up in it. Both are exact: such counts add up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from ood_seg.metrics.checks import ascending
from ood_seg.metrics.key_table import KeyTable

# Pixels per piece. 2**18 float32 scores (1 MiB) are sorted within a core's own cache.
PIECE = 2**18

# Beyond this the pieces are not selected fast enough to keep more threads busy.
_MOST_THREADS = 8


class RankCounts(NamedTuple):
    """Ranks of the anomalous scores among the known ones.

    A group is a distinct anomalous score, or a bin of scores that holds anomalous pixels. The
    order of the pixels within a bin is unknown: the metrics then are estimates, and have bounds.

    Attributes:
        anomalous: anomalous pixels of each group, by ascending score, int64 `(D,)`.
        known_below: known pixels below the group, int64 `(D,)`.
        known_equal: known pixels in the group, int64 `(D,)`.
        num_known: known pixels in total.
        scores: lowest score of each group, `(D,)`.
        unresolved: whether pixels of a group may differ in score, bool `(D,)`; None if nowhere.
    """

    anomalous: np.ndarray
    known_below: np.ndarray
    known_equal: np.ndarray
    num_known: int
    scores: np.ndarray
    unresolved: np.ndarray | None = None


def rank_anomalous(
    known: Iterable[np.ndarray], anomalous: np.ndarray, num_known: int
) -> RankCounts:
    """Count the known scores below and at every distinct anomalous score; reads `known` once."""
    distinct, counts = np.unique(anomalous, return_counts=True)
    if not KeyTable.fits(distinct, num_known):
        return RankCounts(counts, *_rank_by_sorting(known, distinct), num_known, distinct)
    table = KeyTable(distinct, num_known)
    below, equal = _rank_by_sorting(table.counted(known), distinct)
    more_below, more_equal = table.ranks()
    return RankCounts(counts, below + more_below, equal + more_equal, num_known, distinct)


def _rank_by_sorting(
    known: Iterable[np.ndarray], distinct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Known scores below and at each of the ascending `distinct`, int64 `(D,)` each.

    At most one piece per thread and one in waiting are in memory. Pieces hold several times as
    many scores as are looked up in each, so that looking up stays cheaper than sorting even where
    half of all pixels are anomalous.
    """
    below = np.zeros(distinct.size, np.int64)
    equal = np.zeros(distinct.size, np.int64)
    workers = min(torch.get_num_threads(), _MOST_THREADS)
    pending: deque = deque()

    def collect() -> None:
        piece_below, tied, piece_equal = pending.popleft().result()
        np.add(below, piece_below, out=below)
        equal[tied] += piece_equal

    # NumPy releases the interpreter lock while it sorts and searches, so that threads help.
    with ThreadPoolExecutor(workers) as pool:
        for piece in _regroup(known, max(PIECE, 4 * distinct.size)):
            pending.append(pool.submit(_rank_in_piece, piece, distinct))
            if len(pending) > workers:
                collect()
        while pending:
            collect()
    return below, equal


def slices(size: int, length: int | None = None) -> Iterator[slice]:
    """Consecutive slices of `length` items, by default a piece, that cover `size` items."""
    length = PIECE if length is None else length
    return (slice(start, start + length) for start in range(0, size, length))


def _rank_in_piece(
    piece: np.ndarray, distinct: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of `piece` below each of `distinct`; which of these are tied; how many tie there."""
    ordered = ascending(piece)
    below = np.searchsorted(ordered, distinct, side="left")
    # Most anomalous scores tie with no score of the piece: only the others need a second search.
    tied = np.flatnonzero(ordered[np.minimum(below, ordered.size - 1)] == distinct)
    equal = np.searchsorted(ordered, distinct[tied], side="right") - below[tied]
    return below, tied, equal


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
