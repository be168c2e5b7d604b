"""Losses on logits `(N, C, *)` and labels `(N, *)`: functions first, thin classes for configs."""

from ood_seg.losses.balanced_energy import (
    BalancedEnergyLoss,
    balanced_energy_loss,
    checked_prior,
    log_balance,
)
from ood_seg.losses.distillation import distillation_loss
from ood_seg.losses.energy import EnergyLoss, energy_loss
from ood_seg.losses.residual_pattern import ResidualPatternLoss, residual_pattern_loss

__all__ = [
    "BalancedEnergyLoss",
    "EnergyLoss",
    "ResidualPatternLoss",
    "balanced_energy_loss",
    "checked_prior",
    "distillation_loss",
    "energy_loss",
    "log_balance",
    "residual_pattern_loss",
]
