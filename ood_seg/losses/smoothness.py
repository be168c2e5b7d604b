"""Smoothness of energy maps over the image."""

from __future__ import annotations

from torch import Tensor

from ood_seg.losses._common import checked_logits, global_sum
from ood_seg.losses._module import LossModule
from ood_seg.scores import energy


def smoothness(energies: Tensor, *, normalise: bool = False) -> Tensor:
    r"""Half the sum of squared differences between neighbouring pixels, whatever their labels.

    .. math:: \tfrac12 \sum \big( (\partial_y E)^2 + (\partial_x E)^2 \big)

    Source: the code released with Tian et al., ECCV 2022 (weight 3e-6), which sums over the batch,
    so that the weight depends on crop and batch size.

    Args:
        energies: `E`, `(N, H, W)`.
        normalise: divide by the number of pixels.

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: the energies are not three-dimensional.
    """
    if energies.ndim != 3:
        raise ValueError(f"energies must be (N, H, W), got {tuple(energies.shape)}")
    down, across = (energies.diff(dim=dim).square().sum() for dim in (1, 2))
    total, count = global_sum(0.5 * (down + across), energies.new_tensor(energies.numel()))
    return total / count if normalise else total


def energy_smoothness(
    logits: Tensor, labels: Tensor, *, normalise: bool = False, temperature: float = 1.0
) -> Tensor:
    """`smoothness` of the energy map of logits `(N, C, H, W)`; labels `(N, H, W)` are not used."""
    return smoothness(energy(checked_logits(logits, labels), temperature), normalise=normalise)


class SmoothnessLoss(LossModule):
    """Module form of `energy_smoothness`; the released weight is 3e-6."""

    function = energy_smoothness
    loss_name = "loss_smoothness"
