"""Entropy maximisation of Meta-OoD: one sum over known and outlier pixels."""

from __future__ import annotations

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import (
    check_logits,
    check_reduction,
    class_labels,
    global_sum,
    means,
)
from ood_seg.losses._logsumexp import pixel_sums
from ood_seg.losses._module import LossModule


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
    released with it, the denominator includes ignored pixels. The
    gradient is analytic and can be taken once (no second derivatives).

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
    check_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    classes = class_labels(labels, known_mask, logits.shape[1])
    sums = pixel_sums(logits, classes=classes, mask=outlier_mask, uniform=True)
    assert sums.picked is not None
    assert sums.means is not None
    known = (1 - outlier_weight) * (sums.logsumexps - sums.picked).where(known_mask, 0)
    outliers = outlier_weight * (sums.logsumexps[outlier_mask] - sums.means)
    if reduction == "none":
        return known.masked_scatter(outlier_mask, outliers)
    total = known.sum() + outliers.sum()
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
