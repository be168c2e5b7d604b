"""fDBD: distance to the decision boundaries, relative to that from the mean activation."""

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

# A distance to the mean below this is that of the mean itself.
_SMALLEST = 1e-8


def inverse_class_distances(weight: Tensor) -> Tensor:
    """`1 / |w_i - w_j|` of the rows of a classifier's weight `(C, D)`, `(C, C)`.

    Equal rows, the diagonal included, have no boundary between them; their value is 0.
    """
    distances = (weight[:, None] - weight[None]).norm(dim=2)
    return distances.where(distances > 0, torch.inf).reciprocal()


class FDBDFitter(ClassifierMeanFitter):
    """See `ClassifierMeanFitter`."""

    method = "fdbd"


class FDBD(FittedDetector):
    """Negative mean distance to the boundaries of the other classes, over that from the mean.

    Source: Liu and Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024,
    eqs. 2 and 6. With the predicted class y, the classifier's rows w and the mean activation m,

        -mean over c != y of (f_y - f_c) / |w_y - w_c|, divided by |z - m|

    which is in closed form a lower bound of the distance, exact for the nearest boundary. The
    classifier must be a linear layer or a 1x1 convolution.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`; or the model has a single class.
    """

    method = "fdbd"
    fitter = FDBDFitter
    entries: ClassVar = {"mean": real("D"), "weight": real("C", "D"), "bias": real("C")}
    layers = (PENULTIMATE,)
    jumps = True
    mean: Tensor
    weight: Tensor
    inverse_distances: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__(statistics)
        if len(self.weight) < 2:
            raise ValueError(f"fDBD needs at least 2 classes, {self.origin} have 1")
        inverse = inverse_class_distances(self.weight)
        self.register_buffer("inverse_distances", inverse, persistent=False)

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)`, at most 0, at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        # Not outputs.logits: a head may have interpolated those.
        logits = network.classify(features)
        largest, classes = logits.max(dim=1)
        inverse = self.inverse_distances.to(logits)[classes].movedim(-1, 1)
        boundaries = ((largest.unsqueeze(1) - logits) * inverse).sum(dim=1) / (logits.shape[1] - 1)
        mean = self.mean.to(features).view(-1, *[1] * (features.ndim - 2))
        return -boundaries / (features - mean).norm(dim=1).clamp(min=_SMALLEST)
