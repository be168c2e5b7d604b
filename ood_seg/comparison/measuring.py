"""Time and memory of single steps of one process."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

Result = TypeVar("Result")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Cost(NamedTuple):
    """What a step took.

    Attributes:
        seconds: wall clock, the accelerator's work included.
        memory: bytes by which the peak rose above what was in use before; None where not measured.
    """

    seconds: float
    memory: int | None


def measured(
    step: Callable[[], Result], device: torch.device, *, memory: bool = False
) -> tuple[Result, Cost]:
    """Run a step and say what it took.

    Memory is the accelerator's where the model is on one; else that of the process, which is
    measured on Linux alone. Small amounts may be taken from what the process still holds, and then
    do not show.

    Args:
        step: what to run.
        device: where the model is.
        memory: whether to measure it, which takes some time itself.
    """
    on_gpu = device.type == "cuda"
    before = _start(device) if memory else None
    if on_gpu:
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = step()
    if on_gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    if before is None:
        return result, Cost(seconds, None)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else _status("VmHWM")
    return result, Cost(seconds, max(peak - before, 0))


def _start(device: torch.device) -> int | None:
    """Set the peak back; bytes in use, None where that cannot be had."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        # What was freed goes back to the system first, or it would hide as much of the peak.
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError, TypeError):
        return None


def _status(key: str) -> int:
    """An entry of the process's status in bytes."""
    return int(re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.M)[1]) * 1024
