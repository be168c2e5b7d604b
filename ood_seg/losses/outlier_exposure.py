"""Outlier exposure: outlier pixels are trained towards the uniform distribution."""

from __future__ import annotations

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import check_reduction, checked_logits, global_sum, means
from ood_seg.losses._module import LossModule


def outlier_exposure_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross entropy to the uniform distribution, mean over outlier pixels.

    .. math:: L = \mathrm{mean}_{outlier} \big( \log \textstyle\sum_j e^{f_j}
              - \tfrac1C \sum_j f_j \big)

    Its minimum is `log C`. Source: Hendrycks, Mazeika and Dietterich, "Deep Anomaly Detection with
    Outlier Exposure", ICLR 2019, sec. 4.3, where it is added to the cross entropy with weight 0.5.

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer; only outlier pixels are used.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`; `sum` over the pixels of all ranks; or `none`, the loss of each pixel, 0
            for those without one.

    Returns:
        Scalar, zero if no pixel is an outlier; with `none` `(N, *)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, or the reduction is unknown.
    """
    check_reduction(reduction)
    logits = checked_logits(logits, labels)
    _, outlier_mask = split_labels(labels, outlier_index=outlier_index, ignore_index=ignore_index)
    losses = uniform_cross_entropy(logits, outlier_mask)
    if reduction == "none":
        return logits.new_zeros(labels.shape).masked_scatter(outlier_mask, losses)
    if reduction == "sum":
        return global_sum(losses.sum())[0]
    values, _ = means((losses.sum(), outlier_mask.sum()))
    return values[0]


def uniform_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """`logsumexp(f) - mean(f)` of the pixels of a mask, `(M,)`."""
    chosen = logits.movedim(1, -1)[mask]
    return chosen.logsumexp(dim=1) - chosen.mean(dim=1)


class OutlierExposureLoss(LossModule):
    """Module form of `outlier_exposure_loss`."""

    function = outlier_exposure_loss
    loss_name = "loss_outlier_exposure"
