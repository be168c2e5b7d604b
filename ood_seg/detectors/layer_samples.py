"""Samples of pixels with their activations at several layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ood_seg.detectors.ranks import from_any_rank
from ood_seg.detectors.reservoir import PixelReservoir


class LayerSamples:
    """Samples of known and of outlier pixels with their activations at several layers.

    Args:
        sample_size: maximum number of known and of outlier pixels each.
        seed: of both samples.

    Attributes:
        known: the sample of known pixels.
        outliers: the sample of outlier pixels; empty for a single layer, which needs no weights.
    """

    def __init__(self, sample_size: int, seed: int) -> None:
        self.known = PixelReservoir(sample_size, seed)
        self.outliers = PixelReservoir(sample_size, seed, outliers=True)
        # Index and channels of each layer in the order of the rows, known from the first batch.
        self._columns: list[tuple[int, int]] | None = None

    def update(self, maps: Sequence[Tensor], labels: Tensor) -> None:
        """Add a batch, see `PixelReservoir.update`; pixels are those of the largest map."""
        if self._columns is None:
            order = sorted(range(len(maps)), key=lambda index: -math.prod(maps[index].shape[2:]))
            self._columns = [(index, maps[index].shape[1]) for index in order]
        ordered = [maps[index] for index, _ in self._columns]
        self.known.update(ordered, labels)
        if len(maps) > 1:
            self.outliers.update(ordered, labels)

    def reduce(self) -> None:
        """Give every process of a distributed run the merged samples; collective."""
        self.known.reduce()
        self.outliers.reduce()
        self._columns = from_any_rank(self._columns)

    def by_layer(self, rows: Tensor) -> list[Tensor]:
        """Rows `(P, D)` of a sample split into the activations `(P, D_l)` of each layer."""
        columns = self._columns or []
        parts = rows.split([width for _, width in columns], dim=1)
        layers = {index: part for (index, _), part in zip(columns, parts, strict=True)}
        return [layers[index] for index in range(len(layers))]
