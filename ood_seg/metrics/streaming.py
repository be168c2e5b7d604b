"""`ScoreTable`: one `ScoreHistogram` of any number of pixels, in fixed memory.

    score -> key (keys.py), 32 bits in the order of the scores -> bin, the top `bits` of the key

At first every float32 score has a bin. As soon as more than `MOST_BINS` are occupied, neighbouring
bins are joined, which takes one bit from their numbers, until they fit. Where scores spread over a
few powers of two, 23 to 25 bits are left: bins 1e-7 to 1e-6 of the score wide.

The bins depend on which scores occur, not on the order in which they came nor on how they were
divided among tables: merged tables equal one table of all scores. Each bin knows its lowest and
highest score, so one that holds a single score counts it exactly, however wide it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ood_seg.labels import ANOMALY, KNOWN
from ood_seg.metrics.histogram import ScoreHistogram, joined, run_starts
from ood_seg.metrics.keys import KEY_BITS, key_scores, score_keys
from ood_seg.metrics.ranking import RankCounts, slices

# Of 24 bytes each: 3 MiB.
MOST_BINS = 2**17

# Pixels sorted at a time.
PIECE = 2**20


class ScoreTable:
    """Counts scores in less than 10 MiB; see the module.

    Attributes:
        bits: bits of a bin number, 1 to 32.
    """

    def __init__(self) -> None:
        self.bits = KEY_BITS
        self._total = ScoreHistogram.from_classes(*np.zeros((2, 0), np.float32))
        self._waiting: list[ScoreHistogram] = []

    def add(self, known: np.ndarray, anomalous: np.ndarray) -> None:
        """Count flat finite scores, float32 or float64 (rounded to float32, see `score_keys`)."""
        for label, scores in ((KNOWN, known), (ANOMALY, anomalous)):
            for piece in slices(scores.size, PIECE):
                self._wait(self._counted(scores[piece], label))

    def merge(self, other: ScoreTable) -> None:
        """Add the counts of `other`, which stays as it is."""
        total = other.histogram
        self.bits = min(self.bits, other.bits)
        self._wait(total)

    @property
    def histogram(self) -> ScoreHistogram:
        """All pixels so far."""
        self._join_waiting()
        return self._total

    def state(self) -> dict[str, np.ndarray]:
        """All there is to know as arrays, to be sent or saved; `from_state` reads them."""
        total = self.histogram.to_arrays()
        return {"bits": np.array(self.bits), **total}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> ScoreTable:
        """The table that gave `state`.

        Raises:
            ValueError: as `ScoreHistogram.from_arrays`.
        """
        table = cls()
        table.bits = int(state["bits"])
        table._total = ScoreHistogram.from_arrays(state)
        return table

    def all_reduce(self, group: Any = None) -> None:
        """Give every process of `group` (None: all) the counts of all; collective."""
        from torch import distributed

        states: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(states, self.state(), group=group)
        whole = ScoreTable()
        for state in states:
            whole.merge(ScoreTable.from_state(state))
        self.__dict__.update(whole.__dict__)

    def rank_counts(self) -> RankCounts:
        """The bins with anomalous pixels, ascending, among the known pixels."""
        return self.histogram.rank_counts()

    @property
    def num_known(self) -> int:
        """Known pixels so far."""
        return self.histogram.num_known

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels so far."""
        return self.histogram.num_anomalous

    def _bins(self, scores: np.ndarray) -> np.ndarray:
        return score_keys(scores) >> np.uint32(KEY_BITS - self.bits)

    def _counted(self, scores: np.ndarray, label: int) -> ScoreHistogram:
        """Histogram of a piece, with fewer bits than before where it alone takes too many bins."""
        keys = score_keys(scores)
        keys.sort()
        bins = keys >> np.uint32(KEY_BITS - self.bits)
        while self.bits > 1 and np.count_nonzero(bins[1:] != bins[:-1]) >= MOST_BINS:
            self.bits -= 1
            bins >>= np.uint32(1)
        starts = run_starts(bins)
        ends = np.append(starts[1:], keys.size)
        edges = key_scores(keys[starts]), key_scores(keys[ends - 1])
        return ScoreHistogram.of_class(label, ends - starts, *edges)

    def _join_waiting(self) -> None:
        """Add the parts that wait to the total, with fewer bits where that takes too many bins."""
        if not self._waiting:
            return
        self._total = joined([self._total, *self._waiting], self._bins)
        self._waiting = []
        while self.bits > 1 and self._total.lowest.size > MOST_BINS:
            self.bits -= 1
            self._total = joined([self._total], self._bins)

    def _wait(self, part: ScoreHistogram) -> None:
        """Keep a part until there are more of them, since joining copies the whole total."""
        self._waiting.append(part)
        if sum(part.lowest.size for part in self._waiting) > MOST_BINS:
            self._join_waiting()
