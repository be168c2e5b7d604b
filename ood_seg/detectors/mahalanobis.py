"""Mahalanobis distance to the nearest class in feature space, of one layer or of several.

```
activation of a layer -> min over classes of (f - mu_c)^T P (f - mu_c) / 2 -> map of the layer
maps of all layers -> interpolated to the largest -> weighted sum
```

Sources: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks", NeurIPS 2018, and its released code; Ren et al., "A Simple Fix to Mahalanobis
Distance for Improving Near-OOD Detection", 2021 (relative distance).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.mahalanobis_fit import (
    MahalanobisFitter,
    MultiLayerMahalanobisFitter,
    RelativeMahalanobisFitter,
)
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.perturbation import check_epsilon, perturbed_images
from ood_seg.detectors.pixels import at_largest_size, layer_features
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import StatisticsFile
from ood_seg.detectors.whitened_distance import layer_distance


class Mahalanobis(FittedDetector):
    """Half the squared Mahalanobis distance to the nearest class mean, as in Lee et al.

    With several layers the score is the weighted sum of their distances, with the weights of the
    fit (`MahalanobisFitter`); maps of lower resolution are interpolated to the largest.

    Args:
        statistics: see `FittedDetector`.
        epsilon: size of the input perturbation as a share of the image's full range, at least 0;
            the paper tries 0 to 0.01. Above 0 the score runs the network itself (`needs` is
            `network`): for each layer the images take a step that lowers that layer's distance,
            and the distance of the perturbed images is the layer's score.

    Raises:
        ValueError: epsilon is negative.
    """

    fitter = MahalanobisFitter
    method = MahalanobisFitter.method
    relative = MahalanobisFitter.relative
    entries: ClassVar = {
        "means_*": real("C", "D*"),
        "counts_*": counts("C"),
        "whitening_*": real("D*", "D*"),
        "weights": real("L", present="with several layers"),
        "bias": real(present="with several layers"),
    }
    read_options: ClassVar = {"layers": "names"}
    weights: Tensor
    bias: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, epsilon: float = 0.0) -> None:
        super().__init__(statistics)
        check_epsilon(epsilon)
        self.epsilon = epsilon
        self.layers = tuple(self.options["layers"])
        self.needs = "network" if epsilon else "outputs"

    def forward(self, first: Any, second: Any) -> Tensor | tuple[Tensor, Tensor]:
        """`scores = score(outputs, network)`; with an epsilon `score(network, images)`.

        Returns:
            Scores `(N, *)` at the size of the largest layer; with an epsilon logits `(N, C, *)` of
            the unperturbed images, and scores.
        """
        if self.epsilon:
            return self._after_perturbation(first, second)
        maps = [self.layer_scores(first, index) for index in range(len(self.layers))]
        return self._combined(maps, align_corners=second.align_corners)

    def layer_scores(self, outputs: Outputs, index: int) -> Tensor:
        """Scores `(N, *)` of one layer, at its own size."""
        features = layer_features(outputs, self.layers[index])
        return layer_distance(features, self.get_buffer, index, relative=self.relative)

    def extra_repr(self) -> str:
        return f"layers={self.layers}, epsilon={self.epsilon}"

    def _after_perturbation(self, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for index, layer in enumerate(self.layers):
            distance = partial(self.layer_scores, index=index)
            moved, clean = perturbed_images(network, images, distance, self.epsilon, [layer])
            with torch.no_grad():
                maps.append(self.layer_scores(network(moved, [layer]), index))
        return clean.logits, self._combined(maps, align_corners=network.align_corners)

    def _combined(self, maps: Sequence[Tensor], *, align_corners: bool) -> Tensor:
        if len(maps) == 1:
            return maps[0]
        total = self.bias.to(maps[0])
        fitting = at_largest_size(maps, align_corners=align_corners)
        for weight, layer_map in zip(self.weights, fitting, strict=True):
            total = total + weight.to(layer_map) * layer_map
        return total


class RelativeMahalanobis(Mahalanobis):
    """Distance to the nearest class minus the distance to the Gaussian of all classes together.

    Args:
        statistics: see `FittedDetector`.
        epsilon: as for `Mahalanobis`.
    """

    fitter = RelativeMahalanobisFitter
    method = RelativeMahalanobisFitter.method
    relative = RelativeMahalanobisFitter.relative
    entries: ClassVar = {
        **Mahalanobis.entries,
        "overall_mean_*": real(1, "D*"),
        "overall_whitening_*": real("D*", "D*"),
    }


class MultiLayerMahalanobis(Mahalanobis):
    """The feature ensemble of Lee et al. (section 2.2): `Mahalanobis` of several named layers.

    It has a section of its own in the statistics, so that one file serves it and `Mahalanobis` of
    the penultimate layer.

    Args:
        statistics: see `FittedDetector`.
        epsilon: as for `Mahalanobis`.
    """

    fitter = MultiLayerMahalanobisFitter
    method = MultiLayerMahalanobisFitter.method
