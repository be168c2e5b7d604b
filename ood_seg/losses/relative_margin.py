"""Energies of outliers above those of known pixels, pair by pair."""

from __future__ import annotations

import torch
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, means
from ood_seg.losses._module import LossModule
from ood_seg.scores import energy


def relative_margin_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    margin: float = 10.0,
    pairs: int = 10000,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """Mean of `relu(E_known + margin - E_outlier)` over random pairs of pixels.

    It needs no absolute margins. Pairs are drawn with replacement from all pixels of the batch (of
    each process), by torch's generator. Without pixels of either kind it is zero.

    Source: Gao et al., "Generalize or Detect? Towards Robust Semantic Segmentation Under Multiple
    Distribution Shifts", NeurIPS 2024 (MultiShift), its first hinge.

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: as `likelihood_ratio_loss`, like the arguments and errors below.
        margin: smallest difference of energies that costs nothing.
        pairs: how many are drawn.
        temperature: of the energies.
        outlier_index: as there.
        ignore_index: as there.
    """
    energies = energy(checked_logits(logits, labels), temperature)
    masks = split_labels(labels, outlier_index=outlier_index, ignore_index=ignore_index)
    known, outlier = (energies[mask] for mask in masks)
    count = pairs if known.numel() and outlier.numel() else 0
    known, outlier = (
        values[torch.randint(max(values.numel(), 1), (count,), device=values.device)]
        for values in (known, outlier)
    )
    excess = (known + margin - outlier).relu()
    return means((excess.sum(), excess.new_tensor(count)))[0].sum()


class RelativeMarginLoss(LossModule):
    """Module form of `relative_margin_loss`."""

    function = relative_margin_loss
    loss_name = "loss_relative_margin"
