"""Full precision for scores and losses, whatever precision the network computes in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

_HALF_TYPES = (torch.float16, torch.bfloat16)


def full_precision(values: Tensor) -> Tensor:
    """The values in at least float32.

    Raises:
        TypeError: they are not floating point.
    """
    if not torch.is_floating_point(values):
        raise TypeError(f"expected floating point values, got {values.dtype}")
    return values.float() if values.dtype in _HALF_TYPES else values


def without_autocast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a function compute in the types that it is given, within `torch.autocast` as well.

    That would bring every product of matrices and every convolution to half precision, whose
    steps and ties change the ranking. One of the function's positional arguments is a tensor.
    """

    @wraps(function)
    def exact(*args, **kwargs) -> Tensor:
        device = next(one.device for one in args if isinstance(one, Tensor))
        if not torch.amp.is_autocast_available(device.type):  # such as "meta", shapes alone
            return function(*args, **kwargs)
        with torch.autocast(device.type, enabled=False):
            return function(*args, **kwargs)

    return exact
