"""All scores on one dataset, counted image by image and stored, so that a run can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from ood_seg.comparison.counts import ScoreCounts
from ood_seg.comparison.sources import Scored, ScoreSource


class Store(Protocol):
    """Keeps the counts of each score, so that a later run resumes from them."""

    def load(self, name: str) -> ScoreCounts | None:
        """The counts of an earlier run with the same model, data and options; None without one."""

    def save(self, name: str, counts: ScoreCounts) -> None:
        """Replace the stored counts."""


class ScoreComparison:
    """Counts the scores of one dataset.

    A score that fails on an image is left out from there on; the others are not affected.

    Args:
        sources: of the scores; each name occurs once.
        labels_of: a collated batch to labels `(H, W)`: 0 known, 1 anomaly, 255 ignored.
        store: keeps the counts; None: they are not kept.
        interval: seconds between two savings, the most work that a crash can lose.

    Attributes:
        counts: of the scores, by name.
        failures: image and reason, by name.
    """

    def __init__(
        self,
        sources: Sequence[ScoreSource],
        labels_of: Callable[[Mapping[str, Any]], torch.Tensor],
        *,
        store: Store | None = None,
        interval: float = 30.0,
    ) -> None:
        self.sources = sources
        self.labels_of = labels_of
        self.store = store
        self.interval = interval
        self.failures: dict[str, str] = {}
        names = [name for source in sources for name in source.names]
        stored = {name: store.load(name) if store else None for name in names}
        self.counts = {name: stored[name] or ScoreCounts() for name in names}
        self._saved = dict.fromkeys(names, 0)
        self._last_save = time.monotonic()
        self._measured: set[str] = set()

    @property
    def start(self) -> int:
        """Number of images that every score has counted."""
        return min((counts.images for counts in self.counts.values()), default=0)

    def run(self, batches: Iterable[Mapping[str, Any]]) -> Iterator[int]:
        """Count the images from `start` on.

        Args:
            batches: one collated sample each, in the order of the dataset.

        Yields:
            The number of each image after it has been counted.
        """
        try:
            for index, batch in enumerate(batches, self.start):
                self._image(index, batch)
                yield index
                if self.failures.keys() >= self.counts.keys():
                    return  # no score is left to count
                if time.monotonic() - self._last_save >= self.interval:
                    self.save()
        finally:
            self.save()

    def save(self) -> None:
        """Store the counts that have changed."""
        self._last_save = time.monotonic()
        if self.store is None:
            return
        for name, counts in self.counts.items():
            if name not in self.failures and counts.images != self._saved[name]:
                self.store.save(name, counts)
                self._saved[name] = counts.images

    def _image(self, index: int, batch: Mapping[str, Any]) -> None:
        labels = self.labels_of(batch)
        image = batch["data_samples"][0].img_path
        for source in self.sources:
            wanted = [
                name
                for name in source.names
                if name not in self.failures and self.counts[name].images == index
            ]
            memory = not self._measured.issuperset(wanted)
            for scored in source.scores(batch, wanted, memory=memory) if wanted else ():
                self._count(scored, labels, image)
            self._measured.update(wanted)

    def _count(self, scored: Scored, labels: torch.Tensor, image: str) -> None:
        failure = scored.failure
        if scored.scores is not None:
            try:
                if tuple(scored.scores.shape) != tuple(labels.shape):
                    raise ValueError(
                        f"the score map has size {_size(scored.scores)} but the ground truth "
                        f"{_size(labels)} (height x width); resize the scores to the size of the "
                        "ground truth, never the ground truth"
                    )
                self.counts[scored.name].add(scored.scores, labels, scored.cost)
                return
            except ValueError as error:
                failure = str(error)
        place = f"{image}: {scored.file}" if scored.file else image
        self.failures[scored.name] = f"{place}: {failure}"


def _size(values: Any) -> str:
    """Height x width."""
    return "x".join(map(str, values.shape))
