"""Losses that train a learned head; each reads the class logits and the head's channels."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, class_labels, means
from ood_seg.losses._module import LossModule
from ood_seg.scores.learned import likelihood_ratio, outlier_odds, split_last


def likelihood_ratio_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Binary cross entropy of `likelihood_ratio` as the log odds of outlier against known.

    The mean over known and outlier pixels together, unweighted. The class logits of a frozen
    segmentor have no gradient.

    Source: Nayal, Shoeb and Güney, 2024 (UEM), and the code released with it.

    Args:
        logits: `(N, K + 2, *)`, see `likelihood_ratio`; half precision is computed in float32.
        labels: `(N, *)`, integer: known classes, `outlier_index` or `ignore_index`.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.

    Returns:
        Scalar.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, or there are fewer than three channels.
    """
    odds = likelihood_ratio(checked_logits(logits, labels))
    return _outlier_cross_entropy(odds, labels, outlier_index, ignore_index)


def _outlier_cross_entropy(
    odds: Tensor, labels: Tensor, outlier_index: int, ignore_index: int
) -> Tensor:
    """Mean binary cross entropy of log odds `(N, *)` of outlier against known."""
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    total = F.softplus(odds)[known_mask].sum() + F.softplus(-odds)[outlier_mask].sum()
    return means((total, known_mask.sum() + outlier_mask.sum()))[0].sum()


def outlier_odds_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Binary cross entropy of a discriminative head, see `outlier_odds`.

    Source: Bevandić et al., "Simultaneous Semantic Segmentation and Outlier Detection in Presence
    of Domain Shift", GCPR 2019. Arguments and errors: as `likelihood_ratio_loss`.
    """
    odds = outlier_odds(checked_logits(logits, labels))
    return _outlier_cross_entropy(odds, labels, outlier_index, ignore_index)


def evidential_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    kl_weight: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Evidence for known or outlier, and a penalty on evidence for the other one.

    With `alpha = e^z + 1` of the head's two channels, S their sum, t the right one and o the other,

    .. math:: L = \mathrm{mean} \big[ \log S - \log \alpha_t
              + w \, KL(\mathrm{Dir}(1, \alpha_o) \,\|\, \mathrm{Dir}(1, 1)) \big]

    whose divergence is `log alpha_o - 1 + 1 / alpha_o`.

    Source: "Uncertainty Likelihood Ratio Estimation" (ULRE), as released, where `w` grows from 0
    to 1 in ten epochs; see `EvidentialLoss`.

    Args:
        logits: `(N, K + 2, *)`, see `evidential_ratio`; half precision is computed in float32.
        labels: as `likelihood_ratio_loss`, like the arguments and errors below.
        kl_weight: `w`.
        outlier_index: as there.
        ignore_index: as there.
    """
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    _, pair = split_last(checked_logits(logits, labels), 2)
    log_alpha = F.softplus(pair)
    right = log_alpha[:, 1].where(outlier_mask, log_alpha[:, 0])
    other = log_alpha[:, 0].where(outlier_mask, log_alpha[:, 1])
    terms = F.softplus(other - right) + kl_weight * (other - 1 + (-other).exp())
    mask = known_mask | outlier_mask
    return means((terms[mask].sum(), mask.sum()))[0].sum()


def extra_class_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Cross entropy over the classes and one further class, that of the outliers.

    The mean over known and outlier pixels together.

    Source: the void classifier of Blum et al., IJCV 2021, and Chan et al., "SegmentMeIfYouCan",
    NeurIPS 2021, with outliers in place of void pixels.

    Args:
        logits: `(N, K + 1, *)`, see `extra_class`; half precision is computed in float32.
        labels: as `likelihood_ratio_loss`, like the arguments and errors below; also a known
            label that is not a class raises ValueError.
        outlier_index: as there.
        ignore_index: as there.
    """
    logits = checked_logits(logits, labels)
    classes = split_last(logits, 1)[0].shape[1]
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    targets = class_labels(labels, known_mask, classes).masked_fill(outlier_mask, classes)
    mask = known_mask | outlier_mask
    terms = F.cross_entropy(logits, targets, reduction="none")[mask]
    return means((terms.sum(), mask.sum()))[0].sum()


class LikelihoodRatioLoss(LossModule):
    """Module form of `likelihood_ratio_loss`."""

    channels = "all"
    function = likelihood_ratio_loss
    loss_name = "loss_likelihood_ratio"


class OutlierOddsLoss(LossModule):
    """Module form of `outlier_odds_loss`."""

    channels = "all"
    function = outlier_odds_loss
    loss_name = "loss_outlier_odds"


class EvidentialLoss(LossModule):
    """Module form of `evidential_loss`; the weight of the penalty grows during training.

    Args:
        annealing: number of iterations in which it grows from 0 to `kl_weight`; 0: it is constant.
        **options: see `LossModule`.

    Attributes:
        iteration: of the training; the energy head sets it.
    """

    channels = "all"
    function = evidential_loss
    loss_name = "loss_evidential"

    def __init__(self, annealing: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.annealing = annealing
        self.iteration = 0

    def forward(self, *inputs: Tensor) -> Tensor:
        share = min(1.0, self.iteration / self.annealing) if self.annealing else 1.0
        options = {**self.options, "kl_weight": share * self.options["kl_weight"]}
        return self.loss_weight * evidential_loss(*inputs, **options)


class ExtraClassLoss(LossModule):
    """Module form of `extra_class_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    channels = "all"
    function = extra_class_loss
    loss_name = "loss_extra_class"
