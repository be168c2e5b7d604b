"""The types beside tensors that a checkpoint may hold."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

_DTYPES = ("bool", "uint8", "uint32", "int32", "int64", "float16", "float32", "float64")


def safe_globals() -> list[Any]:
    """Return the types beside tensors that a training checkpoint of mmengine may hold.

    NumPy's scalars and arrays, mmengine's `HistoryBuffer` (where mmengine is installed) and a
    `getattr` that reads nothing but that class's own statistics methods. The real `getattr`,
    which mmengine allows, would give an untrusted file any attribute of any allowed object.
    """
    core = getattr(np, "_core", None) or np.core
    reconstruct, scalar = core.multiarray._reconstruct, core.multiarray.scalar
    allowed: list[Any] = [np.ndarray, np.dtype, slice]
    allowed += [type(np.dtype(name)) for name in _DTYPES]
    for function in (reconstruct, scalar):
        # NumPy 2 moved the module; files written by either version must load under both.
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            allowed.append((function, f"{module}.{function.__name__}"))
    try:
        from mmengine.logging.history_buffer import HistoryBuffer
    except ImportError:
        return allowed
    return [*allowed, HistoryBuffer, (_statistics_getter(HistoryBuffer), "builtins.getattr")]


@functools.cache
def _statistics_getter(owner: type) -> Callable[[Any, str], Any]:
    methods = {"min", "max", "current", "mean"}

    def read_statistics_method(target: Any, name: str) -> Any:
        if target is not owner or name not in methods:
            raise UnpicklingError(f"attribute {name!r} of {target!r} may not be read")
        return getattr(target, name)

    return read_statistics_method


@contextlib.contextmanager
def allowing(types: list[Any]) -> Iterator[None]:
    """Context manager: `torch.load` accepts these types as well."""
    # torch's own context manager, on exit, also removes what was allowed before.
    before = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals(types):
            yield
    finally:
        torch.serialization.add_safe_globals(before)
