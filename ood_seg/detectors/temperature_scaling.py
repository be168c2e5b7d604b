"""Maximum softmax probability at the temperature that calibrates the network on known data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import full_precision
from ood_seg.scores import max_softmax

_RANGE = 1e-3, 1e3


def calibrating_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature within 0.001 to 1000 of the smallest mean cross entropy of `softmax(f / T)`.

    The cross entropy is convex in `1 / T`, so that the root of its derivative is found by
    bisection. Logits that separate the classes perfectly get the lower bound, those that tell
    nothing about them the upper one.

    Args:
        logits: `f`, `(P, C)`.
        labels: `(P,)` classes.
    """
    logits = logits.double()
    correct = logits.gather(1, labels[:, None]).mean()

    def slope(inverse: float) -> float:
        """Derivative of the cross entropy by `1 / T`."""
        probabilities = (inverse * logits).softmax(dim=1)
        return float((probabilities * logits).sum(dim=1).mean() - correct)

    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / math.sqrt(low * high)


class TemperatureScalingFitter:
    """Samples logits of known pixels with their labels, and calibrates them.

    Logits are read at the network's own resolution.

    Args:
        sample_size: maximum number of pixels.
        seed: of the sample.
    """

    layers: tuple[str, ...] = ()

    def __init__(self, sample_size: int = 20000, seed: int = 0) -> None:
        self.reservoir = PixelReservoir(sample_size, seed)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        self.reservoir.update(full_precision(outputs.logits), labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.reservoir.reduce()

    def result(self) -> Statistics:
        """Tensor `temperature ()`.

        Raises:
            ValueError: there is no known pixel, or logits are not finite.
        """
        sample = self.reservoir.require(1, "temperature scaling")
        temperature = calibrating_temperature(sample, self.reservoir.labels)
        options = {"seed": self.reservoir.seed, "pixels": len(self.reservoir)}
        tensors = {"temperature": torch.tensor(temperature)}
        return Statistics(TemperatureScaling.method, tensors, options)


class TemperatureScaling(FittedDetector):
    """`max_softmax` at the temperature fitted on known data.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`.
    """

    method = "temperature-scaling"
    needs = "logits"
    fitter = TemperatureScalingFitter
    entries: ClassVar = {"temperature": real(low=0, above=True)}

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__(statistics)
        self.fitted_temperature = float(self.get_buffer("temperature"))

    def forward(self, logits: Tensor) -> Tensor:
        """Scores `(N, *)` of logits `(N, C, *)`."""
        return max_softmax(logits, self.fitted_temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.fitted_temperature:.6g}"
