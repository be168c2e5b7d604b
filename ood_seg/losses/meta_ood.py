"""Entropy maximisation of Meta-OoD: one sum over known and outlier pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import (
    check_reduction,
    checked_logits,
    class_labels,
    global_sum,
    means,
)
from ood_seg.losses._module import LossModule
from ood_seg.losses.outlier_exposure import uniform_cross_entropy


def meta_ood_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_weight: float,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross entropy of known pixels to their labels and of outlier pixels to the uniform.

    .. math:: L = \frac{1}{N C H W} \Big( (1 - \lambda) \sum_{known} -\log p_y
              - \frac{\lambda}{C} \sum_{outlier} \sum_j \log p_j \Big)

    Source: Chan, Rottmann and Gottschalk, "Entropy Maximization and Meta Classification for
    Out-of-distribution Detection in Semantic Segmentation", ICCV 2021, eq. 2-4. As in the code
    released with it, the denominator includes ignored pixels.

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer: 0..C-1, `outlier_index` or `ignore_index`.
        outlier_weight: `lambda` in `[0, 1]` (0.9 in the released code).
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`, with the denominator above; `sum` over the pixels of all ranks; or
            `none`, the loss of each pixel, 0 for ignored ones.

    Returns:
        Scalar; with `none` `(N, *)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, a known label is not a class, the weight is outside
            of `[0, 1]`, or the reduction is unknown.
    """
    if not 0 <= outlier_weight <= 1:
        raise ValueError(f"outlier_weight must lie between 0 and 1, got {outlier_weight}")
    check_reduction(reduction)
    logits = checked_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    classes = class_labels(labels, known_mask, logits.shape[1]).masked_fill(~known_mask, -1)
    summed = "none" if reduction == "none" else "sum"
    known = F.cross_entropy(logits, classes, ignore_index=-1, reduction=summed)
    outliers = uniform_cross_entropy(logits, outlier_mask)
    if reduction == "none":
        losses = (1 - outlier_weight) * known
        return losses.masked_scatter(outlier_mask, outlier_weight * outliers)
    total = (1 - outlier_weight) * known + outlier_weight * outliers.sum()
    if reduction == "sum":
        return global_sum(total)[0]
    values, _ = means((total, total.new_tensor(logits.numel())))
    return values[0]


class MetaOODLoss(LossModule):
    """Module form of `meta_ood_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    function = meta_ood_loss
    loss_name = "loss_meta_ood"
