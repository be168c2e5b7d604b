"""mmseg's cross entropy, from the logsumexps of an outlier loss.

Both losses are functions of the logsumexp of the same logits at the size of the labels. Computed
from one, the logits are resized once and their gradient is written once. Names in the log and
values are those of mmseg, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor, nn

from ood_seg.losses import BalancedEnergyLoss, EnergyLoss, OutlierExposureLoss
from ood_seg.losses._energy_terms import EnergyTerms
from ood_seg.losses.outlier_exposure import ExposureTerms

SharingLoss = EnergyLoss | BalancedEnergyLoss | OutlierExposureLoss
_SHARING = (EnergyLoss, BalancedEnergyLoss, OutlierExposureLoss)

# As in mmseg: so that no pixel at all gives no division by zero.
_EPS = torch.finfo(torch.float32).eps


def sharing_loss(losses: Iterable[nn.Module]) -> SharingLoss | None:
    """The first of some outlier losses whose logsumexps serve the cross entropy as well.

    Subclasses may compute something else, so they are left alone.
    """
    loss: Any
    for loss in losses:
        of_classes = getattr(loss, "channels", "classes") == "classes"
        if type(loss) in _SHARING and of_classes and loss.options.get("temperature", 1) == 1:
            return loss
    return None


def is_joint(head: Any, outputs: Any) -> bool:
    """Whether the closed-set loss of a decode head is a plain cross entropy of its one map.

    Args:
        head: the decode head.
        outputs: of its `forward`.
    """
    loss: Any = getattr(head, "loss_decode", None)  # cascades have one in each of their heads
    return (
        type(loss) is CrossEntropyLoss
        and isinstance(outputs, Tensor)
        and type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        and head.sampler is None
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.class_weight is None
        and loss.reduction == "mean"
    )


def joint_closed_set_losses(
    head: Any, logits: Tensor, labels: Tensor, terms: EnergyTerms | ExposureTerms
) -> dict[str, Tensor]:
    """What mmseg's `loss_by_feat` returns: the cross entropy, and the accuracy in percent.

    As there, both are those of this process's batch.

    Args:
        head: for which `is_joint`.
        logits: of the classes, `(N, C, H, W)`.
        labels: `(N, H, W)`.
        terms: of these, with cross entropies.
    """
    loss, known = head.loss_decode, terms.known_mask
    assert terms.cross_entropies is not None
    count = known.sum()
    averaged = count if loss.avg_non_ignore else labels.numel()
    cross_entropy = loss.loss_weight * terms.cross_entropies.sum() / (averaged + _EPS)
    hits = (logits.detach().max(dim=1).indices == labels) & known
    accuracy = 100 * (hits.sum() + _EPS) / (count + _EPS)
    return {loss.loss_name: cross_entropy, "acc_seg": accuracy[None]}
