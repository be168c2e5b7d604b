"""Distance to the k-th nearest neighbour among sampled pixels of in-distribution data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import without_autocast

# Cosine similarities held at a time: 16 MB of float32, independent of image and bank.
_HELD = 1 << 22


def pieces_beside(bank: Tensor, features: Tensor, k: int) -> Sequence[Tensor]:
    """Split features `(P, D)` so that the products of a piece with a bank `(M, D)` fit in memory.

    Raises:
        ValueError: the bank has another D, or fewer than k rows.
    """
    if features.ndim != 2 or features.shape[1:] != bank.shape[1:]:
        raise ValueError(
            f"features must be (P, {bank.shape[1]}) like the bank, got {tuple(features.shape)}"
        )
    if not 1 <= k <= len(bank):
        raise ValueError(f"k must be 1 to {len(bank)}, the rows of the bank, got {k}")
    return features.split(max(1, _HELD // len(bank)))


@without_autocast
def kth_distance(features: Tensor, bank: Tensor, k: int) -> Tensor:
    """Euclidean distance to the k-th nearest row of a bank, both normalised to length 1.

    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022,
    section 3. Memory beyond input and output is bounded, independent of their sizes.

    Args:
        features: `(P, D)`, of any length; a row of zeros stays zero, at distance 1 from all.
        bank: `(M, D)`, of length 1.
        k: 1 (the nearest) to M.

    Returns:
        `(P,)` in `[0, 2]`.

    Raises:
        ValueError: the bank has another D, or fewer than k rows.
    """
    parts = []
    for part in pieces_beside(bank, features, k):
        part = functional.normalize(part, dim=1)
        # The k-th largest cosine belongs to the k-th smallest distance. The distance itself is
        # computed from the rows, because 2 - 2 cos cancels where they are close.
        neighbour = (part @ bank.T).topk(k, dim=1, sorted=False)
        index = neighbour.indices.gather(1, neighbour.values.argmin(dim=1, keepdim=True))
        parts.append((part - bank[index[:, 0]]).norm(dim=1))
    return torch.cat(parts) if parts else features.new_empty(0)


class NearestNeighboursFitter:
    """Samples the bank of `NearestNeighbours`.

    Args:
        layer: whose activations are compared.
        bank_size: maximum number of pixels in the bank.
        num_classes: for a bank with equally many pixels of each class, where available; None: a
            uniform sample.
        seed: of the sample.
    """

    def __init__(
        self,
        layer: str = PENULTIMATE,
        bank_size: int = 5000,
        num_classes: int | None = None,
        seed: int = 0,
    ) -> None:
        self.layers = (layer,)
        self.reservoir = PixelReservoir(bank_size, seed, num_classes=num_classes)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        self.reservoir.update(outputs.features[self.layers[0]], labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.reservoir.reduce()

    def result(self) -> Statistics:
        """Tensor `bank (M, D)`, rows of length 1.

        Raises:
            ValueError: there is no known pixel, or activations are not finite.
        """
        bank = functional.normalize(self.reservoir.require(1, "the bank of kNN"), dim=1)
        options = {
            "layer": self.layers[0],
            "seed": self.reservoir.seed,
            "balanced": self.reservoir.balanced,
            "pixels_seen": self.reservoir.seen,
        }
        return Statistics(NearestNeighbours.method, {"bank": bank}, options)


class NearestNeighbours(FittedDetector):
    """kNN: distance of a pixel's activation from those of known pixels; see `kth_distance`.

    The bank is a uniform, seeded sample of the labelled pixels of in-distribution data. In the
    paper k grows with the bank: 1000 of 1.28 million rows, 10 of one percent of these.

    Args:
        statistics: see `FittedDetector`.
        k: which neighbour, 1 to the size of the bank.

    Raises:
        ValueError: see `FittedDetector`; or k is out of range.
    """

    method = "knn"
    fitter = NearestNeighboursFitter
    entries: ClassVar = {"bank": real("M", "D")}
    read_options: ClassVar = {"layer": "name"}
    bank: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, k: int = 10) -> None:
        super().__init__(statistics)
        if not 1 <= k <= len(self.bank):
            raise ValueError(
                f"k must be 1 to {len(self.bank)}, the rows of the bank of {self.origin}, got {k}"
            )
        self.k = k
        self.layers = (self.options["layer"],)

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` in `[0, 2]` at the layer's resolution."""
        features = layer_features(outputs, self.layers[0])
        distances = kth_distance(rows(features), self.bank.to(features.dtype), self.k)
        return distances.view(features.shape[0], *features.shape[2:])

    def extra_repr(self) -> str:
        return f"k={self.k}, bank={tuple(self.bank.shape)}, layer={self.layers[0]!r}"
