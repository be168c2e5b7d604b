"""Loss of Dirichlet prior networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, class_labels, means
from ood_seg.losses._module import LossModule
from ood_seg.scores.dirichlet import concentrations, dirichlet_entropy


def dirichlet_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    concentration: float = 100.0,
    outlier_weight: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Divergence of the predicted Dirichlet distribution from a sharp or the flat one.

    .. math:: L = \mathrm{mean}_{known} KL(\mathrm{Dir}(\alpha) \,\|\, \mathrm{Dir}(1 + c\, 1_y))
              + w \, \mathrm{mean}_{outlier} KL(\mathrm{Dir}(\alpha) \,\|\, \mathrm{Dir}(1))

    Source: Malinin and Gales, "Reverse KL-Divergence Training of Prior Networks", NeurIPS 2019.

    Args:
        logits: `(N, 2 K, *)`, see `differential_entropy`; computed in float64.
        labels: as `likelihood_ratio_loss`, like the arguments and errors below; also a known
            label that is not a class raises ValueError.
        concentration: `c`.
        outlier_weight: `w`.
        outlier_index: as there.
        ignore_index: as there.
    """
    logits = checked_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    alpha = concentrations(logits)
    count = alpha.shape[1]
    classes = class_labels(labels, known_mask, count)
    total = alpha.sum(dim=1)
    likelihood = torch.digamma(alpha.gather(1, classes.unsqueeze(1))[:, 0]) - torch.digamma(total)
    negative_entropy = -dirichlet_entropy(alpha)
    log_beta = math.lgamma(1 + concentration) - math.lgamma(count + concentration)
    known = negative_entropy + log_beta - concentration * likelihood
    outlier = negative_entropy - math.lgamma(count)
    values, _ = means(
        (known[known_mask].sum(), known_mask.sum()),
        (outlier[outlier_mask].sum(), outlier_mask.sum()),
    )
    return (values[0] + outlier_weight * values[1]).to(logits.dtype)


class DirichletLoss(LossModule):
    """Module form of `dirichlet_loss`."""

    channels = "all"
    function = dirichlet_loss
    loss_name = "loss_dirichlet"
