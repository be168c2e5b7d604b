"""Decode heads whose inference, training output or labels are not those of mmseg's base class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads import DAHead, DDRHead, EncHead, IterativeDecodeHead, PIDHead
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ood_seg.labels import IGNORE, OUTLIER
from ood_seg.models.cascaded_heads import CascadedHeads

# Of the maps that these heads return (in training, the first two always), the one of inference.
_INFERENCE_MAPS: dict[type[nn.Module], int] = {
    DAHead: 0,
    EncHead: 0,
    DDRHead: 0,
    PIDHead: 1,
    IterativeDecodeHead: -1,
    CascadedHeads: -1,
}
# Methods that return `forward`, or one map of it, resized: what `main_logits` gives as well.
_PLAIN_PREDICTS = {
    head.predict for head in (BaseDecodeHead, BaseCascadeDecodeHead, DAHead, EncHead)
}


def main_logits(
    head: nn.Module, outputs: Tensor | Sequence[Tensor], index: int | None = None
) -> Tensor:
    """Return the logits used at inference, `(N, C', h, w)`, of those that a decode head returned.

    Args:
        head: the decode head.
        outputs: of its `forward`, in either mode.
        index: of the map among several; None: as known for the heads of mmseg.

    Raises:
        ValueError: several maps of a head that is not known, without an index.
    """
    if isinstance(outputs, Tensor):
        return outputs
    if index is None:
        known = (place for kind, place in _INFERENCE_MAPS.items() if isinstance(head, kind))
        index = next(known, None)
    if index is None:
        raise ValueError(
            f"{type(head).__name__} returns {len(outputs)} maps; set model.logits_index to the "
            "one that it returns at inference"
        )
    return outputs[index]


def trains_several_maps(head: nn.Module) -> bool:
    """Whether a head of mmseg computes its closed-set loss from several maps."""
    return isinstance(head, tuple(_INFERENCE_MAPS))


def stacked_labels(samples: Sequence[SegDataSample]) -> Tensor:
    """Return the training labels of a batch, `(N, H, W)`."""
    return torch.cat([sample.gt_sem_seg.data for sample in samples])


def require_edges(head: nn.Module, samples: Sequence[SegDataSample]) -> None:
    """Raise where a head trains on edges and the training pipeline makes none.

    Raises:
        ValueError: the samples of a `PIDHead` have no `gt_edge_map`.
    """
    if isinstance(head, PIDHead) and not all("gt_edge_map" in sample for sample in samples):
        raise ValueError(
            f"{type(head).__name__} also trains on the edges of the labels: add "
            "dict(type='GenerateEdge', edge_width=4) to the training pipeline before "
            "PackSegInputs, or set model.closed_set_loss=False"
        )


def require_class_logits(head: Any) -> None:
    """Raise for a head that gives no class logits, or that ignores outliers.

    Raises:
        ValueError: fewer than 2 channels, or its ignored label is `OUTLIER`.
    """
    if head.ignore_index == OUTLIER:
        raise ValueError(
            f"decode_head.ignore_index {OUTLIER} is the label of outliers; give it the label "
            f"of the pixels to be ignored, {IGNORE} by default"
        )
    if head.out_channels < 2:
        raise ValueError(
            "anomaly scores compare class logits, so the decode head needs at least 2 "
            f"channels, got {head.out_channels}; use out_channels=2 for binary segmentation"
        )


def require_image_channels(expected: int | None, given: int) -> None:
    """Raise where images have another number of channels than the backbone's config states.

    Raises:
        ValueError: they have.
    """
    if expected not in (None, given):
        raise ValueError(
            f"the network takes images of {expected} channels (backbone.in_channels), got {given}; "
            "images are read in colour. Only train and test can use grey ones: load them by "
            "dict(type='LoadImageFromFile', color_type='grayscale'), and give the "
            "data_preprocessor one mean and std"
        )


def require_loss_of_logits(head: nn.Module) -> None:
    """Raise for a head that computes its training loss from something other than logits.

    Raises:
        ValueError: the head, or the last of a cascade, has a `loss` of its own.
    """
    last: Any = head.last if isinstance(head, CascadedHeads) else head
    if type(last).loss not in (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss):
        raise ValueError(
            f"{type(last).__name__} computes its own training loss, so outlier losses cannot "
            "reach its logits; use it for inference (losses=[]), or another head"
        )


def own_inference(head: nn.Module) -> str | None:
    """Return the method by which a head's inference differs from its resized logits, or None."""
    last: Any = head.last if isinstance(head, CascadedHeads) else head
    if type(last).predict not in _PLAIN_PREDICTS:
        return f"{type(last).__name__}.predict"
    if type(last).predict_by_feat is not BaseDecodeHead.predict_by_feat:
        return f"{type(last).__name__}.predict_by_feat"
    return None


def classifier_name(head: nn.Module) -> str | None:
    """Return the name, inside a head, of the layer that gives the logits; None: it has none.

    It is mmseg's `conv_seg`, or what the head names in its attribute `classifier_name`.
    """
    if isinstance(head, CascadedHeads):
        inner = classifier_name(head.last)
        return None if inner is None else f"{len(head) - 1}.{inner}"
    name = getattr(head, "classifier_name", "conv_seg")
    return name if name in dict(head.named_modules()) else None
