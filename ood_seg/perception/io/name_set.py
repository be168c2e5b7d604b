"""Sets of names too many to keep: eight bytes each."""

from __future__ import annotations

import hashlib

import numpy as np

_MOST_RECENT = 1 << 16


def name_hash(name: str) -> int:
    """64 bits of a name, the same in every process and on every machine."""
    # File names that are not valid text arrive with lone surrogates.
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class NameSet:
    """A set that holds the hashes of names.

    Two different names count as one with a probability of n^2 / 2^65: 3 in a million among ten
    million names.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._recent: set[int] = set()

    def add(self, name: str) -> bool:
        """Add a name; return whether it was new."""
        if name in self:
            return False
        self._recent.add(name_hash(name))
        if len(self._recent) >= _MOST_RECENT:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, recent]))
            self._recent.clear()
        return True

    def __contains__(self, name: str) -> bool:
        value = name_hash(name)
        if value in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(value)))
        return place < len(self._sorted) and int(self._sorted[place]) == value

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)
