"""Losses on logits `(N, C, *)` and labels `(N, *)`: pure functions, and their module forms."""

from ood_seg.losses._common import this_process_only
from ood_seg.losses._module import LossModule, PriorLossModule
from ood_seg.losses.abstention import AbstentionLoss, abstention_loss
from ood_seg.losses.balance import checked_prior, log_balance
from ood_seg.losses.balanced_energy import BalancedEnergyLoss, balanced_energy_loss
from ood_seg.losses.contrastive import (
    ContextRobustContrastiveLoss,
    context_robust_contrastive_loss,
)
from ood_seg.losses.dense_hybrid import DenseHybridLoss, dense_hybrid_loss
from ood_seg.losses.dirichlet import DirichletLoss, dirichlet_loss
from ood_seg.losses.distillation import distillation_loss
from ood_seg.losses.energy import EnergyLoss, energy_loss
from ood_seg.losses.joint import (
    CrossEntropyBalancedEnergyLoss,
    CrossEntropyEnergyLoss,
    cross_entropy_balanced_energy_loss,
    cross_entropy_energy_loss,
)
from ood_seg.losses.learned_heads import (
    EvidentialLoss,
    ExtraClassLoss,
    LikelihoodRatioLoss,
    OutlierOddsLoss,
    evidential_loss,
    extra_class_loss,
    likelihood_ratio_loss,
    outlier_odds_loss,
)
from ood_seg.losses.meta_ood import MetaOODLoss, meta_ood_loss
from ood_seg.losses.outlier_exposure import OutlierExposureLoss, outlier_exposure_loss
from ood_seg.losses.relative_margin import RelativeMarginLoss, relative_margin_loss
from ood_seg.losses.residual_pattern import ResidualPatternLoss, residual_pattern_loss
from ood_seg.losses.smoothness import SmoothnessLoss, smoothness
from ood_seg.losses.sparsity import BalancedSparsityLoss, SparsityLoss, sparsity

__all__ = [
    "AbstentionLoss",
    "BalancedEnergyLoss",
    "BalancedSparsityLoss",
    "ContextRobustContrastiveLoss",
    "CrossEntropyBalancedEnergyLoss",
    "CrossEntropyEnergyLoss",
    "DenseHybridLoss",
    "DirichletLoss",
    "EnergyLoss",
    "EvidentialLoss",
    "ExtraClassLoss",
    "LikelihoodRatioLoss",
    "LossModule",
    "MetaOODLoss",
    "OutlierExposureLoss",
    "OutlierOddsLoss",
    "PriorLossModule",
    "RelativeMarginLoss",
    "ResidualPatternLoss",
    "SmoothnessLoss",
    "SparsityLoss",
    "abstention_loss",
    "balanced_energy_loss",
    "checked_prior",
    "context_robust_contrastive_loss",
    "cross_entropy_balanced_energy_loss",
    "cross_entropy_energy_loss",
    "dense_hybrid_loss",
    "dirichlet_loss",
    "distillation_loss",
    "energy_loss",
    "evidential_loss",
    "extra_class_loss",
    "likelihood_ratio_loss",
    "log_balance",
    "meta_ood_loss",
    "outlier_exposure_loss",
    "outlier_odds_loss",
    "relative_margin_loss",
    "residual_pattern_loss",
    "smoothness",
    "sparsity",
    "this_process_only",
]
