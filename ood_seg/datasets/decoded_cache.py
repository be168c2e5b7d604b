"""Decoded files that a process keeps in memory, up to a stated number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np


class DecodedCache:
    """Arrays by key; what comes first stays, and once the bound is reached nothing is added.

    Nothing is evicted: training reads every file once an epoch in a new order, where the least
    recently used is about to come and an evicting cache that holds a share f of the files finds
    less than f of them; this one finds f.
    """

    def __init__(self) -> None:
        self._arrays: dict[Hashable, np.ndarray] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._arrays)

    def get(self, key: Hashable, make: Callable[[], np.ndarray], *, max_bytes: int) -> np.ndarray:
        """Return the array of a key, made on first use.

        Args:
            key: identifies the content, such as a path and how it is read.
            make: reads it.
            max_bytes: the array is kept if that holds no more than this in all; 0 keeps and finds
                nothing.

        Returns:
            The array, read-only where it is kept: copy it before handing it on.
        """
        if max_bytes <= 0:
            return make()
        found = self._arrays.get(key)
        if found is None:
            found = make()
            if self.num_bytes + found.nbytes <= max_bytes:
                found.flags.writeable = False
                self._arrays[key] = found
                self.num_bytes += found.nbytes
        return found

    def clear(self) -> None:
        """Give all memory back."""
        self._arrays.clear()
        self.num_bytes = 0


# One for all datasets and transforms of a process: the bound would otherwise count once for each.
CACHE = DecodedCache()


def checked_cache_mb(cache_mb: int) -> int:
    """Return a bound of the cache in MiB.

    Raises:
        ValueError: it is negative or no integer.
    """
    if not isinstance(cache_mb, int) or cache_mb < 0:
        raise ValueError(f"cache_mb: expected MiB, an integer from 0 (off) on, got {cache_mb!r}")
    return cache_mb
