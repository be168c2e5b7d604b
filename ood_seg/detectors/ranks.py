"""Collective operations over the processes of a distributed run; no-ops in a single process."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist


def is_distributed() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank_and_count() -> tuple[int, int]:
    """Index of this process, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)


def from_all_ranks(value: Any) -> list[Any]:
    """The values of all processes, in order of the ranks; they must be picklable."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_any_rank(value: Any) -> Any:
    """The value of the first process whose value is not None; None if there is none."""
    return next((other for other in from_all_ranks(value) if other is not None), None)
