"""Small steps that all detectors take on logits and activations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_HALF_TYPES = (torch.float16, torch.bfloat16)


def full_precision(values: Tensor) -> Tensor:
    """The values in at least float32, whatever type the network computes in.

    Raises:
        TypeError: they are not floating point.
    """
    if not torch.is_floating_point(values):
        raise TypeError(f"expected floating point values, got {values.dtype}")
    return values.float() if values.dtype in _HALF_TYPES else values


def rows(features: Tensor) -> Tensor:
    """Activations `(N, D, *)` as rows `(P, D)`, in the order of the flattened labels `(N, *)`."""
    return features.movedim(1, -1).flatten(0, -2)


def resized(values: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """`(N, C, h, w)` interpolated bilinearly to `(N, C, *size)`; unchanged where it has it."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return F.interpolate(values, tuple(size), mode="bilinear", align_corners=align_corners)
