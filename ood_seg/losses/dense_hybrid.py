"""Loss of DenseHybrid: classes, likelihood of outliers, and a discriminative head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, class_labels, means
from ood_seg.losses._module import LossModule
from ood_seg.scores.learned import split_last


def dense_hybrid_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    regulariser_weight: float = 0.03,
    head_weight: float = 0.3,
    detach_regulariser: bool = True,
    ignored_as_known: bool = False,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Cross entropy, low likelihood of outliers, and a discriminative head.

    .. math:: L = \mathrm{mean}_{known} CE(f, y)
              + w_r \, \mathrm{mean}_{outlier} \log \textstyle\sum_k e^{f_k}
              + w_h \, \mathrm{mean} \, CE(u)

    Source: Grcić, Bevandić and Šegvić, "DenseHybrid", ECCV 2022. Its released code detaches the
    second term, which then changes the value alone; as written in the paper it lowers the
    likelihood of outliers.

    Args:
        logits: `(N, K + 2, *)`, see `dense_hybrid`; half precision is computed in float32.
        labels: as `likelihood_ratio_loss`, like the arguments and errors below; also a known
            label that is not a class raises ValueError.
        regulariser_weight: `w_r`.
        head_weight: `w_h`.
        detach_regulariser: whether the second term has no gradient, as in the released code.
        ignored_as_known: whether ignored pixels train the head as known ones, as in the released
            code.
        outlier_index: as there.
        ignore_index: as there.
    """
    class_logits, pair = split_last(checked_logits(logits, labels), 2)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    classes = class_labels(labels, known_mask, class_logits.shape[1])
    likelihood = class_logits.logsumexp(dim=1)
    if detach_regulariser:
        likelihood = likelihood.detach()
    head_mask = torch.ones_like(outlier_mask) if ignored_as_known else known_mask | outlier_mask
    parts = (
        (F.cross_entropy(class_logits, classes, reduction="none"), known_mask),
        (likelihood, outlier_mask),
        (F.cross_entropy(pair, outlier_mask.long(), reduction="none"), head_mask),
    )
    values, _ = means(*((terms[mask].sum(), mask.sum()) for terms, mask in parts))
    return values[0] + regulariser_weight * values[1] + head_weight * values[2]


class DenseHybridLoss(LossModule):
    """Module form of `dense_hybrid_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    channels = "all"
    function = dense_hybrid_loss
    loss_name = "loss_dense_hybrid"
