"""DICE: logits from those weights of the classifier that matter for known data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.linear_classifier import ClassifierMeanFitter
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import StatisticsFile
from ood_seg.precision import without_autocast
from ood_seg.scores import energy


def sparsified_weight(weight: Tensor, mean: Tensor, percentile: float) -> Tensor:
    """The weights whose contribution to the mean logits exceeds a percentile; the others are 0.

    Source: Sun and Li, "DICE: Leveraging Sparsification for Out-of-Distribution Detection", ECCV
    2022, section 3. The contribution of a weight is its product with the mean activation, with its
    sign; the percentile is that of all `C x D` contributions together, linearly interpolated.

    Args:
        weight: `(C, D)`.
        mean: `(D,)`, mean activation of known data.
        percentile: in `[0, 100)`; at 0 only the smallest contribution is removed.

    Returns:
        `(C, D)`.

    Raises:
        ValueError: the percentile is out of range.
    """
    if not 0 <= percentile < 100:
        raise ValueError(f"percentile must be in [0, 100), got {percentile}")
    contributions = weight * mean
    threshold = torch.quantile(contributions.double().flatten(), percentile / 100)
    return weight.where(contributions > threshold, torch.zeros_like(weight))


@without_autocast
def linear_logits(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits `(N, C, *)` of activations `(N, D, *)`."""
    products = torch.einsum("nd...,cd->nc...", features, weight)
    return products + bias.view(-1, *[1] * (features.ndim - 2))


class DICEFitter(ClassifierMeanFitter):
    """See `ClassifierMeanFitter`."""

    method = "dice"


class DICE(FittedDetector):
    """Energy of the logits of `sparsified_weight`.

    Args:
        statistics: see `FittedDetector`.
        percentile: share of the weights that is removed, in percent, `[0, 100)`; 70 in the paper
            for ImageNet, 90 for CIFAR.
        temperature: of the energy.

    Raises:
        ValueError: see `FittedDetector`; or the percentile is out of range.
    """

    method = "dice"
    fitter = DICEFitter
    entries: ClassVar = {"mean": real("D"), "weight": real("C", "D"), "bias": real("C")}
    layers = (PENULTIMATE,)
    mean: Tensor
    weight: Tensor
    bias: Tensor
    sparse: Tensor

    def __init__(
        self,
        statistics: str | Path | StatisticsFile,
        percentile: float = 70.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(statistics)
        sparse = sparsified_weight(self.weight, self.mean, percentile)
        self.register_buffer("sparse", sparse, persistent=False)
        self.percentile = float(percentile)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        logits = linear_logits(features, self.sparse.to(features), self.bias.to(features))
        return energy(logits, self.temperature)

    def extra_repr(self) -> str:
        return f"percentile={self.percentile}, kept={int((self.sparse != 0).sum())}"
