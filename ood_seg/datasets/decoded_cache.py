"""Decoded files in memory that a process and its forked loader workers share, up to a bound."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
from collections.abc import Callable

import numpy as np

# The index has a slot for each of so many bytes; smaller arrays than this may fill it first.
_BYTES_PER_SLOT = 1 << 13
_FILLED = 0.75
# Columns of the index: two of the key's digest, then place and shape in the memory.
_COLUMNS = 6


class DecodedCache:
    """Arrays of uint8 by key; what comes first stays, beyond the bound nothing is added.

    Nothing is evicted: training reads every file once an epoch in a new order. There a cache that
    holds a share f of the files and evicts the least recently used finds less than f of them, as
    what it evicts is about to come; this one finds f.

    The memory is anonymous and shared: workers that are forked after `reserve` find what another
    one has decoded, it is taken from the system only as it is filled, and it is given back with the
    last process, however that ends. Workers that are started afresh (spawned) have a cache each.
    """

    def __init__(self) -> None:
        self._lock = multiprocessing.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all arrays and the bound; memory that is still in use goes with its last user."""
        self._memory: mmap.mmap | None = None
        self._capacity = 0
        self._counts = np.zeros(2, np.int64)  # arrays, bytes
        self._index = np.zeros((0, _COLUMNS), np.int64)

    def __len__(self) -> int:
        return int(self._counts[0])

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays together."""
        return int(self._counts[1])

    def reserve(self, num_bytes: int) -> None:
        """Set the bound, unless it is as large already; a larger one starts an empty cache."""
        if num_bytes <= self._capacity:
            return
        slots = max(16, num_bytes // _BYTES_PER_SLOT)
        table = mmap.mmap(-1, (2 + slots * _COLUMNS) * 8)
        numbers = np.frombuffer(table, np.int64)
        self._memory, self._capacity = mmap.mmap(-1, num_bytes), num_bytes
        self._counts, self._index = numbers[:2], numbers[2:].reshape(slots, _COLUMNS)

    def get(self, key: str, make: Callable[[], np.ndarray], *, max_bytes: int) -> np.ndarray:
        """Return the array of a key, made on first use.

        Args:
            key: identifies the content, such as a path and how it is read.
            make: reads it; returns uint8.
            max_bytes: the array is kept if that holds no more than this in all; 0 keeps and finds
                nothing.

        Returns:
            The array, read-only where it was found: copy it before handing it on.
        """
        if max_bytes <= 0:
            return make()
        self.reserve(max_bytes)
        digest = np.frombuffer(hashlib.blake2b(key.encode(), digest_size=16).digest(), np.int64)
        with self._lock:
            found = self._find(digest)
        if found is None:
            found = make()
            with self._lock:
                self._add(digest, found, max_bytes)
        return found

    def _slot(self, digest: np.ndarray) -> tuple[int, bool]:
        """The slot of a key, or the one where it would go, and whether it is there."""
        place = int(digest[0]) % len(self._index)
        while self._index[place].any():
            if (self._index[place, :2] == digest).all():
                return place, True
            place = (place + 1) % len(self._index)
        return place, False

    def _find(self, digest: np.ndarray) -> np.ndarray | None:
        place, is_there = self._slot(digest)
        if not is_there or self._memory is None:
            return None
        offset, *shape = (int(value) for value in self._index[place, 2:])
        shape = [size for size in shape if size]
        size = int(np.prod(shape))
        found = np.frombuffer(self._memory, np.uint8, size, offset).reshape(shape)
        found.flags.writeable = False
        return found

    def _add(self, digest: np.ndarray, array: np.ndarray, max_bytes: int) -> None:
        place, is_there = self._slot(digest)  # another worker may have been faster
        count, used = (int(number) for number in self._counts)
        is_full = used + array.nbytes > max_bytes or count >= _FILLED * len(self._index)
        if is_there or is_full or self._memory is None or array.dtype != np.uint8:
            return
        into = np.frombuffer(self._memory, np.uint8, array.nbytes, used)
        into[:] = array.reshape(-1)
        shape = (*array.shape, 0)[:3]
        self._index[place] = (*digest, used, *shape)
        self._counts[:] = count + 1, used + array.nbytes


# One for all datasets and transforms of a process: the bound would otherwise count once for each.
CACHE = DecodedCache()


def reserved_cache_mb(cache_mb: int) -> int:
    """Return a bound of the cache in MiB, for which memory is reserved.

    Raises:
        ValueError: it is negative or no integer.
    """
    if not isinstance(cache_mb, int) or cache_mb < 0:
        raise ValueError(f"cache_mb: expected MiB, an integer from 0 (off) on, got {cache_mb!r}")
    CACHE.reserve(cache_mb << 20)  # before workers are forked
    return cache_mb
