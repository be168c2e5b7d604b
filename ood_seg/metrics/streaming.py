"""`ScoreTable`: counts of known and anomalous scores in fixed memory, whatever their range.

    score -> key (keys.py) -> page, the top 16 bits; bin in the page, the next `bits - 16`

Only pages that hold a score take room in the table of 2**18 bins. The first four have a bin for
every float32 score (32 bits); when the room is used up, neighbouring bins are joined and there is
room again. That ends at 18 bits at the latest, when every page that there is has its place. Where
scores spread over a few powers of two, 24 or 25 bits are left: bins 1e-7 to 1e-6 of the score
wide.

How fine the bins end up depends on which pages hold a score, not on the order in which they came
nor on how they were divided among tables: merged tables equal one table of all scores.

Each bin remembers its score as long as it holds one score only. Quantised maps (8 or 16 bit,
half precision) and saturated scores are therefore counted exactly even in wide bins.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ood_seg.metrics.keys import KEY_BITS, key_scores, score_keys
from ood_seg.metrics.ranking import RankCounts, slices

_PAGE_BITS = 16
_NUM_PAGES = 2**_PAGE_BITS
_SIZE = 2**18

# Pixels counted at once: the work arrays then stay in a core's own cache.
PIECE = 2**16

# Of a page without a score. Below every place, see `_set_places`.
_NOWHERE = -(2**40)

# Marks of a bin beside the low key bits of its only score, of which there are at most 14.
_EMPTY = np.int16(-1)
_SEVERAL = np.int16(2**14)


class ScoreTable:
    """Counts scores in 5 MiB; see the module.

    Attributes:
        bits: key bits that a bin number has, 18 to 32.
        pages: pages in the table in the order of their places, int64 `(P,)`.
    """

    def __init__(self) -> None:
        self.bits = KEY_BITS
        self.pages = np.zeros(0, np.int64)
        self._place = np.full(_NUM_PAGES, _NOWHERE)
        self._counts = np.zeros((2, _SIZE), np.int64)
        self._only = np.full(_SIZE, _EMPTY, np.int16)

    def add(self, known: np.ndarray, anomalous: np.ndarray) -> None:
        """Count flat finite scores, float32 or float64 (rounded to float32, see `score_keys`)."""
        for label, scores in enumerate((known, anomalous)):
            for piece in slices(scores.size, PIECE):
                self._add_keys(score_keys(scores[piece]), self._counts[label])

    def merge(self, other: ScoreTable) -> None:
        """Add the counts of `other`, which stays as it is."""
        self._add_state(other.pages, other.bits, *other._in_use())

    def state(self) -> dict[str, np.ndarray]:
        """All there is to know as arrays, to be sent or saved; `from_state` reads them."""
        counts, only = self._in_use()
        return {"bits": np.int64(self.bits), "pages": self.pages, "counts": counts, "only": only}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> ScoreTable:
        """The table that gave `state`."""
        table = cls()
        table._add_state(state["pages"], int(state["bits"]), state["counts"], state["only"])
        return table

    def all_reduce(self, group: object = None, device: str | torch.device = "cpu") -> None:
        """Give every process of `group` the counts of all; collective, sizes do not vary.

        The processes first agree on pages and bits (64 KiB). Then one all-reduce adds the counts
        and a second, an eighth of the size, joins the marks of bins with a single score.

        Args:
            group: process group of `torch.distributed`; None for all processes.
            device: where the arrays are exchanged: 'cuda' for NCCL.
        """
        from torch import distributed

        def reduced(array: np.ndarray, operation: distributed.ReduceOp) -> np.ndarray:
            tensor = torch.from_numpy(array).to(device)
            distributed.all_reduce(tensor, operation, group=group)
            return tensor.cpu().numpy()

        layout = np.zeros(_NUM_PAGES + 1, np.uint8)
        layout[self.pages] = 1
        layout[-1] = KEY_BITS - self.bits
        layout = reduced(layout, distributed.ReduceOp.MAX)
        bits = KEY_BITS - int(layout[-1])
        pages = np.flatnonzero(layout[:-1])
        aligned = ScoreTable()
        nothing = np.zeros((2, pages.size << (bits - _PAGE_BITS)), np.int64)
        aligned._add_state(pages, bits, nothing, np.full(nothing.shape[1], _EMPTY))
        aligned.merge(self)
        aligned._counts = reduced(aligned._counts, distributed.ReduceOp.SUM)
        # The largest and the smallest mark of a bin tell whether all of its scores are the same.
        opposite = np.where(aligned._only == _EMPTY, -_SEVERAL, -aligned._only)
        marks = np.stack([aligned._only, opposite]).astype(np.int32)
        largest, opposite = reduced(marks, distributed.ReduceOp.MAX).astype(np.int16)
        aligned._only = np.where((largest == _EMPTY) | (largest == -opposite), largest, _SEVERAL)
        self.__dict__.update(aligned.__dict__)

    def rank_counts(self) -> RankCounts:
        """The bins with anomalous pixels, ascending, among the known pixels."""
        order = np.argsort(self.pages)
        pages = self.pages[order]
        width = self.bits - _PAGE_BITS
        known, anomalous, only = (
            row.reshape(-1, 1 << width)[order].reshape(-1)
            for row in (*self._in_use()[0], self._in_use()[1])
        )
        bins = np.flatnonzero(anomalous)
        known_up_to = np.cumsum(known)
        known_equal = known[bins]
        unresolved = only[bins] == _SEVERAL
        shift = KEY_BITS - self.bits
        keys = (pages[bins >> width] << width | bins & (1 << width) - 1) << shift
        if shift:
            keys |= np.where(unresolved, 0, only[bins])
        return RankCounts(
            anomalous=anomalous[bins],
            known_below=known_up_to[bins] - known_equal,
            known_equal=known_equal,
            num_known=int(known_up_to[-1]) if known.size else 0,
            scores=key_scores(keys),
            unresolved=unresolved if unresolved.any() else None,
        )

    @property
    def num_known(self) -> int:
        """Known pixels so far."""
        return int(self._counts[0].sum())

    @property
    def num_anomalous(self) -> int:
        """Anomalous pixels so far."""
        return int(self._counts[1].sum())

    def _in_use(self) -> tuple[np.ndarray, np.ndarray]:
        """Views of the counts `(2, B)` and marks `(B,)` of all pages, in their order of coming."""
        size = self.pages.size << (self.bits - _PAGE_BITS)
        return self._counts[:, :size], self._only[:size]

    def _add_keys(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Count uint32 keys."""
        pages = (keys >> np.uint32(KEY_BITS - _PAGE_BITS)).astype(np.int64)
        places = self._place.take(pages)
        if places.min() == _NOWHERE:
            self._make_room(np.flatnonzero(np.bincount(pages)))
            places = self._place.take(pages)
        shift = KEY_BITS - self.bits
        places += keys >> np.uint32(shift)
        # With 32 bits a bin has but one score, of which nothing is left to remember.
        if shift:
            self._mark(places, (keys & np.uint32((1 << shift) - 1)).astype(np.int16))
        np.add.at(counts, places, 1)

    def _mark(self, places: np.ndarray, lows: np.ndarray) -> None:
        """Remember the low key bits of the only score of each bin, or that there are several."""
        seen = self._only.take(places)
        if (seen == _EMPTY).any():
            fresh = np.flatnonzero(seen == _EMPTY)
            self._only[places[fresh]] = lows[fresh]  # one of them wins where a bin repeats
            seen[fresh] = self._only[places[fresh]]
        several = (seen != lows) & (seen != _SEVERAL)
        if several.any():
            self._only[places[several]] = _SEVERAL

    def _make_room(self, pages: np.ndarray) -> None:
        """Give those of the distinct `pages` that have no place one, joining bins until it fits."""
        pages = np.concatenate([self.pages, pages[self._place[pages] == _NOWHERE]])
        bits = self.bits
        while pages.size << (bits - _PAGE_BITS) > _SIZE:
            bits -= 1
        self._join_bins(bits)
        self.pages = pages
        self._set_places()

    def _set_places(self) -> None:
        """Where the table's bin is, less the bin number: it is added to find the bin."""
        width = self.bits - _PAGE_BITS
        self._place[self.pages] = (np.arange(self.pages.size) - self.pages) << width

    def _join_bins(self, bits: int) -> None:
        """Join neighbouring bins until their numbers have `bits` bits, if they have more."""
        if bits >= self.bits:
            return
        counts, only = _joined(*self._in_use(), self.bits, bits)
        self.bits = bits
        size = only.size
        self._counts[:, :size], self._counts[:, size:] = counts, 0
        self._only[:size], self._only[size:] = only, _EMPTY
        self._set_places()

    def _add_state(
        self, pages: np.ndarray, bits: int, counts: np.ndarray, only: np.ndarray
    ) -> None:
        """Add counts `(2, B)` and marks `(B,)` of whole pages."""
        self._join_bins(bits)
        self._make_room(pages)
        counts, only = _joined(counts, only, bits, self.bits)
        width = self.bits - _PAGE_BITS
        rows = (self._place[pages] >> width) + pages
        own_counts, own_only = (
            array.reshape(*array.shape[:-1], -1, 1 << width) for array in self._in_use()
        )
        own_counts[:, rows] += counts.reshape(2, -1, 1 << width)
        own_only[rows] = _common(np.stack([own_only[rows], only.reshape(-1, 1 << width)]))


def _joined(
    counts: np.ndarray, only: np.ndarray, bits: int, fewer: int
) -> tuple[np.ndarray, np.ndarray]:
    """Counts `(2, B)` and marks `(B,)` of bins of `bits` bits as those of bins of `fewer` bits."""
    if fewer == bits:
        return counts, only
    if bits == KEY_BITS:  # marks are not kept at full resolution
        only = np.where(counts.any(0), np.int16(0), _EMPTY)
    together = 1 << (bits - fewer)
    counts = counts.reshape(2, -1, together).sum(2)
    only = only.reshape(-1, together).T
    upper = (np.arange(together) << (KEY_BITS - bits)).astype(np.int16)[:, None]
    only = np.where((only == _EMPTY) | (only == _SEVERAL), only, only + upper)
    return counts, _common(only)


def _common(only: np.ndarray) -> np.ndarray:
    """Marks of bins that each hold the scores of all rows of marks `(R, B)`; shape `(B,)`."""
    largest = only.max(0)
    smallest = np.where(only == _EMPTY, _SEVERAL, only).min(0)
    return np.where((largest == _EMPTY) | (largest == smallest), largest, _SEVERAL)
