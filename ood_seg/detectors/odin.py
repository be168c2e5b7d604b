"""ODIN: temperature scaling and input perturbation.

Source: Liang, Li and Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection
in Neural Networks", ICLR 2018, and its released code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_seg.detectors.base import Detector
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.perturbation import check_epsilon, perturbed_images
from ood_seg.precision import full_precision


class ODIN(Detector):
    """`-max_c softmax_c(f(x~) / T)` of images `x~` perturbed towards their own prediction.

    The perturbation lowers the cross entropy of `f(x) / T` against its own arg-max, summed over
    the pixels of a dense network (only the sign of the gradient is used, so that the scale is
    irrelevant). The score plus 1 is the max softmax score of the perturbed image.

    Args:
        temperature: `T > 0`.
        epsilon: size of the perturbation as a share of the image's full range, 0 for none; the
            paper's values are 0 to 0.004.

    Raises:
        ValueError: the temperature is not positive, or epsilon is negative.
    """

    needs = "network"

    def __init__(self, temperature: float = 1000.0, epsilon: float = 0.0014) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        check_epsilon(epsilon)
        self.temperature = temperature
        self.epsilon = epsilon

    def forward(self, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score images.

        Args:
            network: in evaluation mode.
            images: `(N, 3, *)`, preprocessed.

        Returns:
            Logits `(N, C, *)` of the unperturbed images, and scores `(N, *)` in `[-1, -1/C]`.
        """
        if not self.epsilon:
            with torch.no_grad():
                logits = network(images).logits
                return logits, self.confidence(logits).neg()
        moved, clean = perturbed_images(network, images, self._objective, self.epsilon)
        with torch.no_grad():
            return clean.logits, self.confidence(network(moved).logits).neg()

    def confidence(self, logits: Tensor) -> Tensor:
        """Largest probability `(N, *)` of the softmax at the temperature."""
        return (full_precision(logits) / self.temperature).softmax(dim=1).amax(dim=1)

    def _objective(self, outputs: Outputs) -> Tensor:
        logits = full_precision(outputs.logits)
        loss = F.cross_entropy(logits / self.temperature, logits.argmax(dim=1), reduction="sum")
        # The factor does not change the sign, but in half precision a gradient divided by T = 1000
        # would underflow.
        return self.temperature * loss

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, epsilon={self.epsilon}"
