"""Losses that train a learned head; each reads the class logits and the head's channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, means
from ood_seg.losses._module import LossModule
from ood_seg.scores import likelihood_ratio


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


class LikelihoodRatioLoss(LossModule):
    """Module form of `likelihood_ratio_loss`."""

    channels = "all"
    function = likelihood_ratio_loss
    loss_name = "loss_likelihood_ratio"
