"""Operations on logits and activations that several detectors share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.reservoir import pooled_to
from ood_seg.precision import full_precision


def rows(features: Tensor) -> Tensor:
    """Activations `(N, D, *)` as rows `(P, D)`, in the order of the flattened labels `(N, *)`."""
    return features.movedim(1, -1).flatten(0, -2)


def resized(values: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """`(N, C, h, w)` interpolated bilinearly to `(N, C, *size)`; unchanged if it has that size."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return F.interpolate(values, tuple(size), mode="bilinear", align_corners=align_corners)


def at_largest_size(maps: Sequence[Tensor], *, align_corners: bool) -> list[Tensor]:
    """Score maps `(N, *)` of several layers, interpolated to the size of the largest."""
    size = max((layer_map.shape[1:] for layer_map in maps), key=math.prod)
    return [
        resized(layer_map.unsqueeze(1), size, align_corners=align_corners).squeeze(1)
        for layer_map in maps
    ]


def activation(outputs: Outputs, name: str) -> Tensor:
    """An activation `(N, D, *)` as the layer gives it, in at least float32.

    Raises:
        ValueError: the outputs do not contain it.
    """
    if name not in outputs.features:
        held = ", ".join(outputs.features) or "none"
        raise ValueError(f"the activation of layer {name!r} is required, outputs contain {held}")
    return full_precision(outputs.features[name])


def layer_features(outputs: Outputs, name: str) -> Tensor:
    """An activation `(N, D, *)` in at least float32; `(N, D)` for image-level networks.

    Raises:
        ValueError: the outputs do not contain it.
    """
    return pooled_to(activation(outputs, name), outputs.logits.ndim - 2)


def full_size_logits(outputs: Outputs, labels: Tensor, network: Network) -> Tensor:
    """Logits in at least float32, interpolated to the size of the labels `(N, *)`."""
    logits = full_precision(outputs.logits)
    return resized(logits, labels.shape[1:], align_corners=network.align_corners)


def check_classes(logits: Tensor, num_classes: int, origin: str) -> None:
    """Raise `ValueError` unless the logits have as many classes as the statistics."""
    if logits.shape[1] != num_classes:
        raise ValueError(
            f"{origin} belong to a model of {num_classes} classes, the logits "
            f"{tuple(logits.shape)} have {logits.shape[1]}"
        )
