"""NNGuide: energy, guided by the similarity to known activations of high confidence."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.nearest_neighbours import pieces_beside
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import without_autocast
from ood_seg.scores import energy


@without_autocast
def guidance(features: Tensor, bank: Tensor, k: int) -> Tensor:
    """Mean of the k largest products of a normalised activation with the rows of a bank.

    Memory beyond input and output is bounded, independent of their sizes.

    Args:
        features: `(P, D)`, of any length.
        bank: `(M, D)`, normalised activations times their confidence.
        k: 1 to M.

    Returns:
        `(P,)`.

    Raises:
        ValueError: the bank has another D, or fewer than k rows.
    """
    parts = [
        (functional.normalize(part, dim=1) @ bank.T).topk(k, dim=1, sorted=False).values.mean(dim=1)
        for part in pieces_beside(bank, features, k)
    ]
    return torch.cat(parts) if parts else features.new_empty(0)


class NNGuideFitter:
    """Samples activations of known pixels uniformly, scaled by their negative energy.

    Args:
        bank_size: maximum number of pixels in the bank.
        seed: of the sample.
    """

    layers = (PENULTIMATE,)

    def __init__(self, bank_size: int = 5000, seed: int = 0) -> None:
        self.reservoir = PixelReservoir(bank_size, seed)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        features = layer_features(outputs, PENULTIMATE)
        confidence = -energy(network.classify(features)).unsqueeze(1)
        self.reservoir.update([features, confidence], labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.reservoir.reduce()

    def result(self) -> Statistics:
        """Tensor `bank (M, D)`.

        Raises:
            ValueError: there is no known pixel, or activations are not finite.
        """
        sample = self.reservoir.require(1, "the bank of NNGuide")
        bank = functional.normalize(sample[:, :-1], dim=1) * sample[:, -1:]
        options = {"seed": self.reservoir.seed, "pixels_seen": self.reservoir.seen}
        return Statistics(NNGuide.method, {"bank": bank}, options)


class NNGuide(FittedDetector):
    """Energy times `guidance`, negated so that higher is more anomalous.

    Source: Park, Jung and Teoh, "Nearest Neighbor Guidance for Out-of-Distribution Detection",
    ICCV 2023, eqs. 4 to 6: confidence is `logsumexp(f)`, the bank holds normalised activations of
    known pixels times their confidence. The product orders by confidence only where that is
    positive, as with the usual logits of a trained network.

    Args:
        statistics: see `FittedDetector`.
        k: number of neighbours, 1 to the size of the bank; 10 in the paper.

    Raises:
        ValueError: see `FittedDetector`; or k is out of range.
    """

    method = "nnguide"
    fitter = NNGuideFitter
    entries: ClassVar = {"bank": real("M", "D")}
    layers = (PENULTIMATE,)
    bank: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, k: int = 10) -> None:
        super().__init__(statistics)
        if not 1 <= k <= len(self.bank):
            raise ValueError(
                f"k must be 1 to {len(self.bank)}, the rows of the bank of {self.origin}, got {k}"
            )
        self.k = k

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        guided = guidance(rows(features), self.bank.to(features), self.k)
        # Not outputs.logits: a head may have interpolated those.
        scores = energy(network.classify(features))
        return scores * guided.view(scores.shape)

    def extra_repr(self) -> str:
        return f"k={self.k}, bank={tuple(self.bank.shape)}"
