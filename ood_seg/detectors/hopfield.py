"""SHE: similarity of an activation to the stored pattern of its predicted class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.reservoir import labels_at
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import Statistics
from ood_seg.labels import IGNORE
from ood_seg.precision import without_autocast


@without_autocast
def pattern_similarity(features: Tensor, patterns: Tensor, classes: Tensor) -> Tensor:
    """Inner product `(N, *)` of activations `(N, D, *)` with the pattern of their class.

    Args:
        features: `(N, D, *)`.
        patterns: `(C, D)`.
        classes: `(N, *)` class indices.
    """
    products = torch.einsum("nd...,cd->nc...", features, patterns)
    return products.gather(1, classes.unsqueeze(1)).squeeze(1)


class SHEFitter:
    """Mean penultimate activation by class, of the known pixels that are classified correctly."""

    layers = (PENULTIMATE,)

    def __init__(self) -> None:
        self._moments: ClassMoments | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        features = layer_features(outputs, PENULTIMATE)
        predicted = network.classify(features).argmax(dim=1)
        if self._moments is None:
            self._moments = ClassMoments(outputs.logits.shape[1], scatter="none")
        labels = labels_at(labels, features.shape[2:])
        labels = labels.where(labels == predicted, IGNORE)
        self._moments.update(rows(features), labels.flatten())

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)

    def result(self) -> Statistics:
        """Tensors `patterns (C, D)` and `counts (C,)`, correctly classified pixels by class.

        Raises:
            ValueError: no known pixel is classified correctly, or activations are not finite.
        """
        moments = self._moments
        if moments is None or not moments.counts.any():
            raise ValueError("SHE needs at least one known pixel that is classified correctly")
        overall = moments.pooled().means
        if not overall.isfinite().all():
            raise ValueError(
                "SHE: some activations are infinite or NaN; run the network in float32"
            )
        patterns = moments.means.where(moments.counts[:, None] > 0, overall)
        tensors = {"patterns": patterns.float(), "counts": moments.counts.long()}
        return Statistics(SHE.method, tensors)


class SHE(FittedDetector):
    """Negative inner product of an activation with the mean one of its predicted class.

    Source: Zhang et al., "Out-of-Distribution Detection based on In-Distribution Data Patterns
    Memorization with Modern Hopfield Energy", ICLR 2023, eq. 8 (the simplified energy). A class of
    which no pixel was classified correctly has the mean activation of all classes as its pattern.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`.
    """

    method = "she"
    fitter = SHEFitter
    entries: ClassVar = {"patterns": real("C", "D"), "counts": counts("C")}
    layers = (PENULTIMATE,)
    jumps = True
    patterns: Tensor

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        # Not outputs.logits: a head may have interpolated those.
        classes = network.classify(features).argmax(dim=1)
        return -pattern_similarity(features, self.patterns.to(features), classes)
