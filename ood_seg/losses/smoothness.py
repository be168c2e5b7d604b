"""Smoothness of the energy map over the picture."""

from __future__ import annotations

from torch import Tensor, nn

from ood_seg.losses._common import checked_logits, global_sum
from ood_seg.scores import energy


def smoothness(energies: Tensor, *, normalise: bool = False) -> Tensor:
    r"""Half the sum of squared differences between neighbouring pixels, all labels included.

    .. math:: \tfrac12 \sum \big( (\partial_y E)^2 + (\partial_x E)^2 \big)

    Source: the code released with Tian et al., ECCV 2022 (weight 3e-6), which sums over the batch,
    so that the weight depends on crop and batch size.

    Args:
        energies: `E`, `(N, H, W)`.
        normalise: divide by the number of pixels.

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: for another number of dimensions.
    """
    if energies.ndim != 3:
        raise ValueError(f"energies must be (N, H, W), got {tuple(energies.shape)}")
    total = sum(0.5 * energies.diff(dim=dim).square().sum() for dim in (1, 2))
    total, count = global_sum(total, total.new_tensor(energies.numel()))
    return total / count if normalise else total


class SmoothnessLoss(nn.Module):
    """`smoothness` of the energy of the classes, weighted, for `EnergyHead(losses=[...])`.

    Args:
        normalise: see `smoothness`.
        temperature: `T` of the energy.
        loss_weight: factor of the loss.
        loss_name: key in the training log; must start with `loss`.
    """

    def __init__(
        self,
        *,
        loss_weight: float,
        normalise: bool = False,
        temperature: float = 1.0,
        loss_name: str = "loss_smoothness",
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.normalise = normalise
        self.temperature = temperature
        self.loss_name = loss_name

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        energies = energy(checked_logits(logits, labels), self.temperature)
        return self.loss_weight * smoothness(energies, normalise=self.normalise)
