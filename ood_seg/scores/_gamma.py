"""Logarithm and logarithmic derivative of the gamma function, for positive numbers.

Those of torch, except in exported graphs: ONNX has no operator for either.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Lanczos' approximation with g = 7 and nine terms, exact to 1e-14.
_LANCZOS = (
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)
_SHIFT = 10  # where the asymptotic series of the derivative is exact to 1e-13


def log_gamma(x: Tensor) -> Tensor:
    """Logarithm of the gamma function of positive numbers."""
    if not torch.compiler.is_compiling():
        return torch.lgamma(x)
    total = torch.ones_like(x)
    for index, coefficient in enumerate(_LANCZOS):
        total = total + coefficient / (x + index)
    base = x + 6.5
    return (x - 0.5) * base.log() - base + total.log() + math.log(2 * math.pi) / 2


def digamma(x: Tensor) -> Tensor:
    """Derivative of `log_gamma`."""
    if not torch.compiler.is_compiling():
        return torch.digamma(x)
    y = x + _SHIFT
    inverse = 1 / (y * y)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return y.log() - 0.5 / y - series - sum(1 / (x + i) for i in range(_SHIFT))
