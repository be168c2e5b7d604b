"""Context-robust contrastive loss (CoroCL) of residual pattern learning."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import check_logits, checked_logits
from ood_seg.losses._module import LossModule
from ood_seg.precision import without_autocast


def context_robust_contrastive_loss(
    features: Tensor,
    labels: Tensor,
    context_labels: Tensor,
    *,
    temperature: float = 0.1,
    samples: int = 512,
    generator: torch.Generator | None = None,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Pull outliers of both contexts together, and away from the inliers of both.

    An outlier appears in a driving scene, where it was pasted, or in its source image. `n` pixels
    are drawn of each of four kinds: outliers and known pixels of driving scenes that contain an
    outlier, outliers of source images and the pixels around them. With unit feature vectors `v`,
    anchors `i` of the two kinds in driving scenes, `P(i)` all drawn pixels of the anchor's side
    (outlier or not) except the anchor, and `N(i)` those of the other side,

    .. math:: L = -\mathrm{mean}_i\, \mathrm{mean}_{p \in P(i)} \log
              \frac{e^{v_i v_p / \tau}}{e^{v_i v_p / \tau} + \sum_{q \in N(i)} e^{v_i v_q / \tau}}

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in
    Semantic Segmentation", ICCV 2023, eq. 6, and the code released with it. There, the source
    images are those that the batch's objects were cut from; here, any images of objects can be
    used. Under torch.distributed each process draws from its own batch.

    Args:
        features: projected features, `(N, D, *)`; half precision is computed in float32.
        labels: of driving scenes, `(N, *)`, integer; `ignore_index` everywhere in a source image.
        context_labels: of source images, `(N, *)`, integer: `outlier_index` on objects,
            `ignore_index` on padding and everywhere in a driving scene, any other value around the
            objects.
        temperature: `tau > 0`.
        samples: upper bound of `n`, which is further bounded by the smallest of the four counts.
        generator: CPU generator of the draws; None for torch's global one.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.

    Returns:
        Scalar; zero if one of the four kinds is missing.

    Raises:
        TypeError: the features are not floating point or the labels not integer.
        ValueError: the shapes do not match, or temperature or samples is not positive.
    """
    if not temperature > 0 or samples < 1:
        raise ValueError(
            f"temperature and samples must be positive, got {temperature} and {samples}"
        )
    check_logits(features, context_labels)
    features = checked_logits(features, labels)
    indices = {"outlier_index": outlier_index, "ignore_index": ignore_index}
    known, outlier = split_labels(labels.flatten(1), **indices)
    known = known & outlier.any(dim=1, keepdim=True)
    around, object_mask = split_labels(context_labels.flatten(1), **indices)
    kinds = [mask.nonzero() for mask in (outlier, known, object_mask, around)]
    count = min(samples, *map(len, kinds))
    if count == 0:
        return features[:, :0].sum()
    chosen = torch.cat([_draw(positions, count, generator) for positions in kinds])
    vectors = F.normalize(features.flatten(2)[chosen[:, 0], :, chosen[:, 1]], dim=1)
    sides = torch.tensor([True, False, True, False], device=features.device)
    return _info_nce(vectors, sides.repeat_interleave(count), 2 * count, temperature)


def _draw(positions: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` distinct rows of `positions (M, 2)`; drawn on the CPU, so equal on all devices."""
    drawn = torch.randperm(len(positions), generator=generator)[:count]
    return positions[drawn.to(positions.device)]


@without_autocast
def _info_nce(vectors: Tensor, sides: Tensor, num_anchors: int, temperature: float) -> Tensor:
    """The loss of drawn unit vectors `(M, D)` and their sides `(M,)`; anchors come first."""
    similarity = vectors[:num_anchors] @ vectors.T / temperature
    same = sides[:num_anchors, None] == sides
    positive = same.clone().fill_diagonal_(False)
    negatives = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    # -log(e^s / (e^s + sum)) = softplus(log(sum) - s)
    terms = F.softplus(negatives - similarity) * positive
    return (terms.sum(dim=1) / positive.sum(dim=1)).mean()


class ContextRobustContrastiveLoss(LossModule):
    """Module form of `context_robust_contrastive_loss`, for `ResidualPatternHead(contrast=...)`."""

    function = context_robust_contrastive_loss
    loss_name = "loss_contrast"
