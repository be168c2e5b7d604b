"""Sums over the processes of a distributed run; nothing changes in a single one."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether there are processes to sum over."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of all processes' values, which have one shape, on the device they are on."""
    return _reduced(values, dist.ReduceOp.SUM) if is_distributed() else values


def max_over_ranks(values: Tensor) -> Tensor:
    """The largest of all processes' values, element by element."""
    return _reduced(values, dist.ReduceOp.MAX) if is_distributed() else values


def _reduced(values: Tensor, operation: dist.ReduceOp) -> Tensor:
    # NCCL takes tensors of its own device only.
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    total = values.to(device, copy=True).contiguous()
    dist.all_reduce(total, operation)
    return total.to(values.device)
