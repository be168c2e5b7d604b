"""GradNorm: size of the gradient that pulls a prediction towards the uniform one."""

from __future__ import annotations

import torch
from torch import Tensor

from ood_seg.detectors.base import Detector
from ood_seg.detectors.linear_classifier import linear_classifier
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features


class GradNorm(Detector):
    """Negative L1 norm of the gradient of `KL(uniform || softmax(f / T))`, by the last weights.

    Source: Huang, Geng and Li, "On the Importance of Gradients for Detecting Distributional Shifts
    in the Wild", NeurIPS 2021, eqs. 3, 7 and 8. For a linear classifier the gradient is the outer
    product of `(p - 1 / C) / T` and the activation z, so that no backward pass is needed:

        -sum_d |z_d| * sum_c |p_c - 1 / C| / T

    In a dense network each pixel has its own loss and gradient. The released code sums the loss
    over the classes instead of averaging, which multiplies every score by C. The classifier must
    be a linear layer or a 1x1 convolution; its bias does not count, as in the paper.

    Args:
        temperature: `T > 0`; 1 in the paper.

    Raises:
        ValueError: the temperature is not positive.
    """

    layers = (PENULTIMATE,)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)`, at most 0, at the resolution of the penultimate activation.

        Raises:
            ValueError: see `linear_classifier`.
        """
        linear_classifier(network)
        features = layer_features(outputs, PENULTIMATE)
        probabilities = (network.classify(features) / self.temperature).softmax(dim=1)
        from_uniform = (probabilities - 1 / probabilities.shape[1]).abs().sum(dim=1)
        return -features.abs().sum(dim=1) * from_uniform / self.temperature

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
