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
    """What a step costs.

    Attributes:
        seconds: wall-clock time, including the work of the accelerator.
        memory: bytes by which the peak exceeds what was in use before; None if not measured.
    """

    seconds: float
    memory: int | None


def measured(
    step: Callable[[], Result], device: torch.device, *, memory: bool = False
) -> tuple[Result, Cost]:
    """Run a step; return its result and its cost.

    Memory is that of the accelerator if the model is on one, else that of the process, which is
    measured on Linux only. Small amounts that the process takes from memory it still holds are not
    measured.

    Args:
        step: what to run.
        device: where the model is.
        memory: whether to measure memory, which takes some time itself.
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
    """Reset the peak; return the bytes in use, None if they cannot be measured."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        # Return freed memory to the system first, as it would hide as much of the peak.
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError, ValueError):
        return None


def _status(key: str) -> int:
    """An entry of the status of the process in bytes."""
    (kilobytes,) = re.findall(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.M)
    return int(kilobytes) * 1024
