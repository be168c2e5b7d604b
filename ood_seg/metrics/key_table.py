"""`KeyTable`: ranks of scores by counting, for float32 scores that lie close together.

Between the lowest and the highest anomalous score there are only so many float32 numbers: energies
of -11 to -0.5 have 38 million. A counter for each makes ranking one addition a pixel, some four
times faster than sorting, and as exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ood_seg.metrics.keys import score_keys

# Pixels counted at once: the work arrays then stay in a core's own cache.
_PIECE = 2**18

_SMALL = 2**22  # bytes that a table may always take
_MOST_COUNTS = 2**32

_ONE = np.uint32(1)  # of the table's own type: NumPy has a fast path for that alone


class KeyTable:
    """Counts known scores between the lowest and the highest of some anomalous ones.

    Args:
        distinct: distinct anomalous scores, ascending, float32 `(D,)`, at least one.
    """

    def __init__(self, distinct: np.ndarray) -> None:
        keys = score_keys(distinct)
        self._lowest = keys[0]
        self._places = (keys - keys[0]).astype(np.int64)
        self._size = int(self._places[-1]) + 1
        self._below = 0
        # The last counter takes what lies outside.
        self._counts = np.zeros(self._size + 1, np.uint32)

    @staticmethod
    def fits(distinct: np.ndarray, num_known: int) -> bool:
        """Whether a table for these scores takes at most 2 bytes a known pixel, or is small."""
        if distinct.dtype != np.float32 or not distinct.size or num_known >= _MOST_COUNTS:
            return False
        first, last = score_keys(distinct[[0, -1]]).astype(np.int64)
        return 4 * (last - first + 2) <= max(2 * num_known, _SMALL)

    def counted(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Count the flat arrays of float32; pass on those of another type."""
        for array in arrays:
            if array.dtype != np.float32:
                yield array
                continue
            for start in range(0, array.size, _PIECE):
                keys = score_keys(array[start : start + _PIECE])
                self._below += int(np.count_nonzero(keys < self._lowest))
                keys -= self._lowest  # those below wrap round to numbers beyond the table
                np.minimum(keys, np.uint32(self._size), out=keys)
                np.add.at(self._counts, keys.astype(np.int64), _ONE)

    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Known scores below and at each of the distinct anomalous scores, int64 `(D,)` each."""
        sums = np.add.reduceat(self._counts[: self._size], self._places, dtype=np.int64)
        below = self._below + np.concatenate([[0], np.cumsum(sums)[:-1]])
        return below, self._counts[self._places].astype(np.int64)
