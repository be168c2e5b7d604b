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

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.mahalanobis_fit import MahalanobisFitter
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.perturbation import check_epsilon, perturbed_images
from ood_seg.detectors.pixels import layer_features, resized
from ood_seg.detectors.statistics import StatisticsFile
from ood_seg.detectors.whitened_distance import layer_distance


class Mahalanobis(FittedDetector):
    """Half the squared Mahalanobis distance to the nearest class mean, as Lee et al. have it.

    Of several layers the score is the weighted sum of their distances, with the weights of the
    fit (`MahalanobisFitter`); maps of lower resolution are interpolated to the largest.

    Args:
        statistics: see `FittedDetector`.
        epsilon: size of the input perturbation as a share of the picture's full range; the paper
            tries 0 to 0.01. Above 0 the score runs the network itself (`needs` is `network`):
            for each layer the images take a step that lowers that layer's distance, and the
            distance of the perturbed images is the layer's score.

    Raises:
        ValueError: epsilon is negative.
    """

    method = "mahalanobis"
    relative: ClassVar[bool] = False

    def __init__(self, statistics: str | Path | StatisticsFile, epsilon: float = 0.0) -> None:
        super().__init__(statistics)
        check_epsilon(epsilon)
        self.epsilon = epsilon
        self.layers = tuple(self.options["layers"])
        self.needs = "network" if epsilon else "outputs"

    def forward(
        self, first: Outputs | Network, second: Network | Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """`score(outputs, network)`, or with an epsilon `logits, scores = score(network, images)`.

        Returns:
            Scores `(N, *)` at the size of the largest layer; logits `(N, C, *)` of the images as
            given.
        """
        if self.epsilon:
            return self._after_perturbation(first, second)
        maps = [self.layer_scores(first, index) for index in range(len(self.layers))]
        return self._combined(maps, align_corners=second.align_corners)

    def layer_scores(self, outputs: Outputs, index: int) -> Tensor:
        """Scores `(N, *)` of one layer, at its own size."""
        features = layer_features(outputs, self.layers[index])
        return layer_distance(features, self.get_buffer, index, relative=self.relative)

    @classmethod
    def fitter(
        cls,
        layers: Sequence[str] = (PENULTIMATE,),
        shrinkage: float = 0.0,
        sample_size: int = 10_000,
        seed: int = 0,
    ) -> MahalanobisFitter:
        """See `MahalanobisFitter`."""
        return MahalanobisFitter(
            layers,
            shrinkage=shrinkage,
            sample_size=sample_size,
            seed=seed,
            method=cls.method,
            relative=cls.relative,
        )

    def extra_repr(self) -> str:
        return f"layers={self.layers}, epsilon={self.epsilon}"

    def _after_perturbation(self, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for index, layer in enumerate(self.layers):
            moved, clean = perturbed_images(
                network, images, self._objective(index), self.epsilon, [layer]
            )
            with torch.no_grad():
                maps.append(self.layer_scores(network(moved, [layer]), index))
        return clean.logits, self._combined(maps, align_corners=network.align_corners)

    def _objective(self, index: int) -> Callable[[Outputs], Tensor]:
        return lambda outputs: self.layer_scores(outputs, index).sum()

    def _combined(self, maps: Sequence[Tensor], *, align_corners: bool) -> Tensor:
        if len(maps) == 1:
            return maps[0]
        size = max(
            (tuple(one.shape[1:]) for one in maps), key=lambda shape: torch.Size(shape).numel()
        )
        total = self.bias.to(maps[0])
        for weight, one in zip(self.weights, maps, strict=True):
            fitting = resized(one.unsqueeze(1), size, align_corners=align_corners).squeeze(1)
            total = total + weight.to(one) * fitting
        return total


class RelativeMahalanobis(Mahalanobis):
    """Distance to the nearest class less that to the Gaussian of all classes together.

    Args:
        statistics, epsilon: as `Mahalanobis`.
    """

    method = "relative-mahalanobis"
    relative = True
