"""Loss of residual pattern learning (RPL): known pixels unchanged, outliers at high energy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import check_reduction, checked_logits, global_sum, means
from ood_seg.losses._module import LossModule
from ood_seg.scores import entropy, split_corrected


def residual_pattern_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    consistency_weight: float = 1.0,
    entropy_weight: float = 1.0,
    outlier_weight: float = 0.05,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    r"""Keep corrected logits near the frozen ones on known pixels, push them down on outliers.

    With `f` the frozen and `g` the corrected logits, `H` the entropy of the softmax in nats,

    .. math:: L = \mathrm{mean}_{known} \big[ w_c\, CE(g, \arg\max f) + w_e\, (H(g) - H(f))^2 \big]
              + w_o\, \mathrm{mean}_{outlier} \big[ \log \textstyle\sum_k e^{g_k} \big]_+

    The target on known pixels is the arg-max of the frozen model, not the label; labels only
    select known and outlier pixels. The outlier term is zero where the energy is positive, that
    is, its margin is an energy of 0.

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in
    Semantic Segmentation", ICCV 2023, eq. 3-5, with the weights of the released code, whose
    entropies clamp probabilities at 1e-7 (a difference below 1e-4). A term without pixels is
    zero; the released code gives NaN without known pixels.

    Args:
        logits: `(N, 2K, *)`: `f`, then `g`. No gradient reaches `f`. Half precision is computed
            in float32.
        labels: `(N, *)`, integer: known classes, `outlier_index` or `ignore_index`.
        consistency_weight: `w_c`.
        entropy_weight: `w_e`.
        outlier_weight: `w_o`.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`, the two means as above; `none`, the weighted terms of each pixel, 0 for
            ignored ones; or `sum`, the sum of those over the pixels of all ranks.

    Returns:
        Scalar; with `none` `(N, *)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, the number of channels is odd, or the reduction is
            unknown.
    """
    check_reduction(reduction)
    frozen, corrected = split_corrected(checked_logits(logits, labels))
    frozen = frozen.detach()
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    consistency = F.cross_entropy(corrected, frozen.argmax(dim=1), reduction="none")
    change = (entropy(corrected) - entropy(frozen)).square()
    known = (consistency_weight * consistency + entropy_weight * change)[known_mask]
    outlier = outlier_weight * corrected.logsumexp(dim=1).relu()[outlier_mask]
    if reduction != "mean":
        losses = change.new_zeros(labels.shape).masked_scatter(known_mask, known)
        losses = losses.masked_scatter(outlier_mask, outlier)
        return losses if reduction == "none" else global_sum(losses.sum())[0]
    terms, _ = means((known.sum(), known_mask.sum()), (outlier.sum(), outlier_mask.sum()))
    return terms.sum()


class ResidualPatternLoss(LossModule):
    """Module form of `residual_pattern_loss`."""

    channels = "all"
    function = residual_pattern_loss
    loss_name = "loss_residual_pattern"
