"""Maps that are decoded once although an evaluation passes over them several times."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np

from ood_seg.evaluation.saved_maps import MapReader

Maps = tuple[np.ndarray, np.ndarray]


class KeptMaps:
    """Reads as a `MapReader` does, and keeps as many of the last maps as fit into memory.

    An evaluation that collects all scores needs the rest of its memory for those. So what is kept
    and one copy of all scores read so far never exceed the limit together; in the end nothing is
    kept of a dataset whose scores alone exceed it.

    Args:
        reader: of the maps.
        memory: limit in bytes; 0 keeps nothing.
    """

    def __init__(self, reader: MapReader, memory: int) -> None:
        self.reader = reader
        self.memory = memory
        self._maps: dict[tuple[Path, Path], Maps] = {}
        self._seen: set[tuple[Path, Path]] = set()
        self._taken = 0
        self._lock = Lock()

    def read(self, scores: Path, truth: Path) -> Maps:
        """Scores and labels as `MapReader.read` gives them, not to be changed."""
        found = self._maps.get((scores, truth))
        if found is None:
            found = self.reader.read(scores, truth)
            self._keep((scores, truth), found)
        return found

    @property
    def count(self) -> int:
        """Maps kept at present."""
        return len(self._maps)

    def _keep(self, files: tuple[Path, Path], maps: Maps) -> None:
        with self._lock:
            if files in self._seen:  # a later pass, which must not push out what it is to find
                return
            self._seen.add(files)
            self._taken += maps[0].nbytes + _size(maps)
            self._maps[files] = maps
            while self._maps and self._taken > self.memory:
                self._taken -= _size(self._maps.pop(next(iter(self._maps))))


def _size(maps: Maps) -> int:
    return sum(array.nbytes for array in maps)
