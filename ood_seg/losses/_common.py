"""Shared by the losses: input checks, sums over ranks, means over pixels that may be absent.

Under torch.distributed every loss is that of the global batch. Each is a function of sums over
pixels, and `global_sum` adds these over the ranks. Its gradient is scaled so that the mean of the
ranks' gradients, which data-parallel training uses, is the gradient of that loss. All ranks must
therefore compute a loss together, except within `this_process_only`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ood_seg.precision import full_precision

_THIS_PROCESS_ONLY = ContextVar("this_process_only", default=False)


@contextlib.contextmanager
def this_process_only() -> Iterator[None]:
    """Context manager: losses are those of this process's batch, without communication."""
    token = _THIS_PROCESS_ONLY.set(True)
    try:
        yield
    finally:
        _THIS_PROCESS_ONLY.reset(token)


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and not _THIS_PROCESS_ONLY.get()


def global_sum(*values: Tensor) -> Tensor:
    """Sums over the ranks of scalars, `(len(values),)`; for the gradient see the module."""
    stacked = torch.stack(values)
    return _GlobalSum.apply(stacked) if _is_distributed() else stacked


def global_max(value: Tensor) -> Tensor:
    """Maximum over the ranks, without a gradient."""
    value = value.detach().clone()
    if _is_distributed():
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value


class _GlobalSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * dist.get_world_size()


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Check that `logits (N, C, *)` and `labels (N, *)` match.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match.
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


def checked_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits in at least float32, after `check_logits`."""
    check_logits(logits, labels)
    return full_precision(logits)


def masked_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits `(C, M)` of the M pixels of a mask `(N, *)`, in order.

    Chosen by index within each image, which is several times as fast in both directions as a
    boolean mask with the classes last.
    """
    if logits.ndim == 2:
        return logits[mask].t()
    if not len(logits):
        return logits.transpose(0, 1).flatten(1)
    parts = [
        image.index_select(1, row.nonzero().squeeze(1))
        for image, row in zip(logits.flatten(2), mask.flatten(1), strict=True)
    ]
    return torch.cat(parts, dim=1)


def check_reduction(reduction: str) -> None:
    """Raise `ValueError` unless a reduction is `none`, `mean` or `sum`."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def class_labels(labels: Tensor, known_mask: Tensor, num_classes: int) -> Tensor:
    """Labels of the known pixels as int64, zero elsewhere.

    Raises:
        ValueError: the label of a known pixel is not a class.
    """
    classes = labels.where(known_mask, 0).long()
    if classes.numel():
        low, high = (int(value) for value in classes.aminmax())
        if low < 0 or high >= num_classes:
            raise ValueError(f"known labels must be 0..{num_classes - 1}, got {low}..{high}")
    return classes


def means(*pairs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Means over the pixels of all ranks, from pairs `(sum, count)` of this rank.

    Returns:
        The means, `(len(pairs),)`, and a mask of those with pixels on some rank, `(len(pairs),)`
        bool. A mean without pixels is zero, with a gradient of zero.
    """
    values = [value.to(pairs[0][0]) for pair in pairs for value in pair]
    sums, counts = global_sum(*values).view(-1, 2).unbind(dim=1)
    present = counts > 0
    return sums / counts.where(present, torch.ones_like(counts)), present
