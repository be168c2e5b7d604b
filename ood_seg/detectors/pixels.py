"""Small steps that all detectors take on logits and activations."""

from __future__ import annotations

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
    """`(N, C, h, w)` interpolated bilinearly to `(N, C, *size)`; unchanged where it has it."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return F.interpolate(values, tuple(size), mode="bilinear", align_corners=align_corners)


def layer_features(outputs: Outputs, name: str) -> Tensor:
    """An activation `(N, D, *)` in at least float32; `(N, D)` where the network is image-level.

    Raises:
        ValueError: the outputs do not hold it.
    """
    if name not in outputs.features:
        held = ", ".join(outputs.features) or "none"
        raise ValueError(f"the activation of layer {name!r} is needed, the outputs hold {held}")
    return full_precision(pooled_to(outputs.features[name], outputs.logits.ndim - 2))


def full_size_logits(outputs: Outputs, labels: Tensor, network: Network) -> Tensor:
    """Logits in at least float32, interpolated to the size of the labels `(N, *)`."""
    logits = full_precision(outputs.logits)
    return resized(logits, labels.shape[1:], align_corners=network.align_corners)


def check_classes(logits: Tensor, num_classes: int, origin: str) -> None:
    """Raise unless the logits are of as many classes as the statistics.

    Raises:
        ValueError: they are not.
    """
    if logits.shape[1] != num_classes:
        raise ValueError(
            f"{origin} are of a model of {num_classes} classes, the logits "
            f"{tuple(logits.shape)} are of {logits.shape[1]}"
        )
