"""Full precision for scores and losses, whatever the precision of the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

_HALF_TYPES = (torch.float16, torch.bfloat16)


def full_precision(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; other floating-point tensors are returned as is.

    Raises:
        TypeError: the tensor is not floating point.
    """
    if not torch.is_floating_point(values):
        raise TypeError(f"expected a floating-point tensor, got {values.dtype}")
    return values.float() if values.dtype in _HALF_TYPES else values


def without_autocast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorator: compute in the dtypes of the arguments, also inside `torch.autocast`.

    Autocast would run matrix products and convolutions in half precision, whose rounding and
    ties change the ranking of scores. At least one positional argument must be a tensor.
    """

    @wraps(function)
    def exact(*args: Any, **kwargs: Any) -> Tensor:
        device = next(one.device for one in args if isinstance(one, Tensor))
        if not torch.amp.is_autocast_available(device.type):  # such as "meta", shapes alone
            return function(*args, **kwargs)
        with torch.autocast(device.type, enabled=False):
            return function(*args, **kwargs)

    return exact
