"""What the pixel losses share: input checks and the treatment of missing pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_HALF_TYPES = (torch.float16, torch.bfloat16)


def checked_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Check that `logits (N, C, *)` and `labels (N, *)` fit; half precision becomes float32.

    Raises:
        TypeError: if the logits are not floating point or the labels not integer.
        ValueError: if the shapes do not fit.
    """
    if not torch.is_floating_point(logits):
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if torch.is_floating_point(labels) or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    expected = (logits.shape[0], *logits.shape[2:])
    if logits.ndim < 2 or tuple(labels.shape) != expected:
        raise ValueError(
            f"labels must be {expected} for logits {tuple(logits.shape)}, got {tuple(labels.shape)}"
        )
    return logits.float() if logits.dtype in _HALF_TYPES else logits


def mean_of_present(terms: list[Tensor], logits: Tensor) -> Tensor:
    """Mean of the loss terms that have pixels; zero with a graph when none has.

    `0.5 * (L_in + L_out)` when both kinds of pixels occur, the one term alone otherwise, as the
    released balanced energy code does for batches without outliers.
    """
    if not terms:
        return logits[:, :0].sum()
    return torch.stack(terms).mean()
