"""NumPy arrays where the core computes with tensors, so that it serves any framework.

logits as an array -> from_array -> the one formula, in torch -> an array again
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def arrays_too(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorator: a function of tensors takes NumPy arrays as well, and returns the kind given.

    An array as the first argument makes every tensor of the result an array; arrays among the
    other arguments, such as weights, are converted only. Arrays share their memory with the
    tensors where that is possible, and are not changed.
    """

    @wraps(function)
    def either(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        first = args[0] if args else next(iter(kwargs.values()), None)
        converted = [from_array(one) for one in args]
        named = {name: from_array(one) for name, one in kwargs.items()}
        result = function(*converted, **named)
        if not isinstance(first, np.ndarray):
            return result
        if isinstance(result, tuple):
            return cast(Result, tuple(map(as_numpy, result)))
        return cast(Result, as_numpy(result))

    return either


def from_array(value: Any) -> Any:
    """The tensor of a NumPy array, on the CPU; anything else as it is.

    Raises:
        TypeError: torch has no type for the numbers of the array, such as texts.
    """
    if not isinstance(value, np.ndarray):
        return value
    # Torch knows neither another byte order nor negative strides, and warns of read-only memory.
    array = np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def as_numpy(values: Any) -> np.ndarray:
    """A tensor of any device, or anything array-like, as an array; bfloat16 as float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)
