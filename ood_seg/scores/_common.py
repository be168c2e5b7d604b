"""Code shared by the scores: the check of their logits, and the temperature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ood_seg.precision import full_precision


def checked(logits: Tensor) -> Tensor:
    """The logits of a score in at least float32.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: they have fewer than two dimensions or no channel.
    """
    if not torch.is_floating_point(logits):
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if logits.ndim < 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits must be (N, C, *) with at least one channel, got {tuple(logits.shape)}"
        )
    return full_precision(logits)


def check_temperature(temperature: float) -> None:
    """Raise `ValueError` unless the temperature is positive."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


class TemperatureScore(nn.Module):
    """Base of the score modules whose only option is a temperature.

    Args:
        temperature: `T > 0`.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"
