"""Outlier exposure: outlier pixels are trained towards the uniform distribution."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import (
    check_logits,
    check_reduction,
    checked_logits,
    class_labels,
    global_sum,
    masked_logits,
    means,
)
from ood_seg.losses._logsumexp import pixel_sums
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
    return _reduced(losses, outlier_mask, reduction)


def _reduced(losses: Tensor, outlier_mask: Tensor, reduction: str) -> Tensor:
    """Reduce the losses `(M,)` of the pixels of a mask `(N, *)`."""
    if reduction == "none":
        return losses.new_zeros(outlier_mask.shape).masked_scatter(outlier_mask, losses)
    if reduction == "sum":
        return global_sum(losses.sum())[0]
    values, _ = means((losses.sum(), outlier_mask.sum()))
    return values[0]


class ExposureTerms(NamedTuple):
    """What the pixels of a batch add to outlier exposure and cross entropy.

    Attributes:
        outliers: cross entropies of the M outlier pixels to the uniform distribution, `(M,)`.
        known_mask, outlier_mask: `(N, *)` bool.
        logsumexps: of the logits, `(N, *)`.
        cross_entropies: `(N, *)`, 0 where a pixel is not known; None where not asked for.
    """

    outliers: Tensor
    known_mask: Tensor
    outlier_mask: Tensor
    logsumexps: Tensor
    cross_entropies: Tensor | None

    def loss(self, reduction: str) -> Tensor:
        """The loss; `reduction` as for `outlier_exposure_loss`."""
        check_reduction(reduction)
        return _reduced(self.outliers, self.outlier_mask, reduction)


def uniform_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """`logsumexp(f) - mean(f)` of the pixels of a mask, `(M,)`."""
    rows = masked_logits(logits, mask)
    return rows.logsumexp(dim=0) - rows.mean(dim=0)


class OutlierExposureLoss(LossModule):
    """Module form of `outlier_exposure_loss`."""

    function = outlier_exposure_loss
    loss_name = "loss_outlier_exposure"

    def terms(
        self, logits: Tensor, labels: Tensor, *, cross_entropy: bool = False
    ) -> ExposureTerms:
        """What `forward` reduces, and the cross entropies beside it, from one logsumexp.

        Raises:
            TypeError, ValueError: as `outlier_exposure_loss`; with `cross_entropy` also a known
                label that is not a class.
        """
        check_logits(logits, labels)
        names = ("outlier_index", "ignore_index")
        known, outliers = split_labels(labels, **{name: self.options[name] for name in names})
        classes = class_labels(labels, known, logits.shape[1]) if cross_entropy else None
        sums = pixel_sums(logits, classes=classes, mask=outliers, uniform=True)
        assert sums.means is not None
        losses = None
        if sums.picked is not None:
            losses = (sums.logsumexps - sums.picked).where(known, 0)
        uniform = sums.logsumexps[outliers] - sums.means
        return ExposureTerms(uniform, known, outliers, sums.logsumexps, losses)
