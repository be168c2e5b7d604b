"""Pixel-wise abstention loss of PEBAL."""

from __future__ import annotations

import math

import torch
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
from ood_seg.scores import energy
from ood_seg.smoothing import gaussian_smooth

_LOG_FLOOR = math.log(1e-7)  # lower bound for outlier pixels in the released code


def abstention_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    outlier_weight: float,
    kernel_size: int = 7,
    sigma: float = 1.0,
    reward: float | None = None,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross entropy with a reward for abstaining that grows as the energy approaches zero.

    With `p` the softmax over K classes and the abstention `r = p_K`, and `a` the squared energy
    of the classes, smoothed over the image (gradients pass through it),

    .. math:: L = -\mathrm{mean}_{clean} \log(p_y + r / a)
              - \mathrm{mean}_{known} \log(p_y + r / a)
              - w \, \mathrm{mean}_{outlier, k < K} \log \max(p_k + r / a, 10^{-7})

    where *clean* are the known pixels of images without outliers and *known* those of images
    with outliers. A term without pixels is zero. Computed in logarithms throughout, so that the
    loss is finite for all finite logits.

    Source: Tian et al., "Pixel-wise Energy-biased Abstention Learning for Anomaly Segmentation on
    Complex Urban Driving Scenes", ECCV 2022, and the code released with it, which averages
    outlier pixels over all classes (the paper's eq. 3 does not) and is NaN where this is not.

    Args:
        logits: `(N, K + 1, H, W)`, abstention last; half precision is computed in float32.
        labels: `(N, H, W)`, integer: 0..K-1, `outlier_index` or `ignore_index`.
        outlier_weight: `w` (0.1 in the released code).
        kernel_size: odd number of taps of the Gaussian that smooths `a`.
        sigma: standard deviation of the Gaussian in pixels.
        reward: a constant `a`, above 1, in place of the squared energy: Liu et al., "Deep
            Gamblers", NeurIPS 2019, where it is called o; None: the squared energy.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`, the three means as above; `none`, the negative logarithm of each pixel,
            times `w` and averaged over the classes for outliers, 0 for ignored ones; or `sum`,
            the sum of those over the pixels of all ranks.

    Returns:
        Scalar; with `none` `(N, H, W)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, a known label is not a class, the maps are smaller
            than half the Gaussian, or the reduction is unknown.
    """
    check_reduction(reduction)
    logits = checked_logits(logits, labels)
    if logits.ndim != 4 or logits.shape[1] < 2:
        raise ValueError(
            "logits must be (N, K + 1, H, W), classes and abstention, "
            f"got {tuple(logits.shape)}; give the decode head one channel more than classes"
        )
    if reward is not None and not reward > 1:
        raise ValueError(f"reward must be above 1, or abstaining always pays, got {reward}")
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    classes = class_labels(labels, known_mask, logits.shape[1] - 1).unsqueeze(1)
    log_total = logits.logsumexp(dim=1)
    if reward is None:
        squares = gaussian_smooth(energy(logits[:, :-1]).square(), kernel_size, sigma)
    else:
        squares = torch.full_like(log_total, reward)
    log_reward = squares.clamp(min=torch.finfo(squares.dtype).tiny).log()
    log_abstention = logits[:, -1] - log_total - log_reward

    log_known = logits.gather(1, classes).squeeze(1) - log_total
    gains = torch.logaddexp(log_known, log_abstention)
    log_outlier = logits[:, :-1].movedim(1, -1)[outlier_mask] - log_total[outlier_mask][:, None]
    outlier_gains = torch.logaddexp(log_outlier, log_abstention[outlier_mask][:, None])
    outlier_gains = outlier_gains.clamp(min=_LOG_FLOOR).mean(dim=1)

    if reduction != "mean":
        losses = -gains.where(known_mask, 0)
        losses = losses.masked_scatter(outlier_mask, -outlier_weight * outlier_gains)
        return losses if reduction == "none" else global_sum(losses.sum())[0]
    pasted = outlier_mask.flatten(1).any(dim=1)[:, None, None]
    masks = (known_mask & ~pasted, known_mask & pasted)
    pairs = [(gains[mask].sum(), mask.sum()) for mask in masks]
    values, _ = means(*pairs, (outlier_gains.sum(), outlier_mask.sum()))
    return -(values[0] + values[1] + outlier_weight * values[2])


class AbstentionLoss(LossModule):
    """Module form of `abstention_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    channels = "all"
    function = abstention_loss
    loss_name = "loss_abstention"
