"""Scores that rectify the penultimate activation at percentiles of known data: ReAct and VRA.

penultimate (N,D,*) -> clipped -> the network's classifier -> logits (N,C,*) -> energy (N,*)

Both read the same section of the statistics, the percentiles of all channels of known pixels
together.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.scores import energy


def rectify_activations(
    features: Tensor, lower: float, upper: float, amplification: float = 0.0
) -> Tensor:
    """VRA: 0 below `lower`, `z + amplification` between, `upper` above `upper`.

    Source: Xu et al., "VRA: Variational Rectified Activation for Out-of-distribution Detection",
    NeurIPS 2023, section 3.3; with an amplification it is their VRA+. At `lower = -inf` and no
    amplification it is ReAct.

    Args:
        features: `z`, `(N, D, *)`.
        lower: threshold below which activations are removed.
        upper: threshold above which they are clipped, at least `lower`.
        amplification: added between the thresholds, both included.

    Returns:
        `(N, D, *)`.
    """
    rectified = features.clamp(max=upper)
    if amplification:
        rectified = rectified + amplification * (features <= upper)
    return rectified.masked_fill(features < lower, 0)


def threshold_at(percentiles: Tensor, percentile: float) -> float:
    """Activation at a percentile, linearly interpolated.

    Args:
        percentiles: activations at equally spaced percentiles from 0 to 100.
        percentile: 0 to 100.
    """
    levels = np.linspace(0, 100, len(percentiles))
    return float(np.interp(percentile, levels, percentiles.cpu().numpy()))


class ReActFitter:
    """Percentiles of the penultimate activations of known pixels, from a uniform sample.

    Args:
        sample_size: maximum number of pixels.
        seed: of the sample.
    """

    layers = (PENULTIMATE,)

    def __init__(self, sample_size: int = 20000, seed: int = 0) -> None:
        self.reservoir = PixelReservoir(sample_size, seed)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        self.reservoir.update(outputs.features[PENULTIMATE], labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.reservoir.reduce()

    def result(self) -> Statistics:
        """Tensor `percentiles (1001,)`, from 0 to 100 in tenths.

        Raises:
            ValueError: there is no known pixel, or activations are not finite.
        """
        values = self.reservoir.require(1, "ReAct").numpy()
        percentiles = np.percentile(values, np.linspace(0, 100, 1001)).astype(np.float32)
        options = {"seed": self.reservoir.seed, "pixels": len(self.reservoir)}
        return Statistics(ReAct.method, {"percentiles": torch.from_numpy(percentiles)}, options)


class ReAct(FittedDetector):
    """Energy after clipping activations at a percentile of in-distribution data.

    Source: Sun, Guo and Li, "ReAct: Out-of-distribution Detection With Rectified Activations",
    NeurIPS 2021, eqs. 3 to 5. At percentile 100 the threshold is the largest activation of the
    sample, so that the sample has its plain energy.

    Args:
        statistics: see `FittedDetector`.
        percentile: of all channels of known pixels together, 0 to 100; 90 in the paper. Linearly
            interpolated between the stored tenths of a percent.
        temperature: of the energy.

    Raises:
        ValueError: see `FittedDetector`; or the percentile is out of range.
    """

    method = "react"
    fitter = ReActFitter
    entries: ClassVar = {"percentiles": real(1001, ascending=True)}
    layers = (PENULTIMATE,)
    percentiles: Tensor

    def __init__(
        self,
        statistics: str | Path | StatisticsFile,
        percentile: float = 90.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(statistics)
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be in [0, 100], got {percentile}")
        self.percentile = float(percentile)
        self.temperature = temperature
        self.threshold = threshold_at(self.percentiles, percentile)

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        clipped = layer_features(outputs, PENULTIMATE).clamp(max=self.threshold)
        return energy(network.classify(clipped), self.temperature)

    def extra_repr(self) -> str:
        return f"percentile={self.percentile}, threshold={self.threshold:.6g}"


class VRA(FittedDetector):
    """Energy after `rectify_activations` at two percentiles of in-distribution data.

    It reads the statistics of `react`. The thresholds are those of all channels together, as for
    ReAct; in image-level networks the papers' features are those after the spatial mean.

    Args:
        statistics: see `FittedDetector`.
        lower: percentile of the lower threshold, 0 to 100; 60 in the released code for CIFAR.
        upper: percentile of the upper threshold, at least `lower`; 90 there for CIFAR-10, 95 for
            CIFAR-100.
        amplification: the paper's gamma, 0 for VRA; 0.6 is the released code's for VRA+ on CIFAR.
        temperature: of the energy.

    Raises:
        ValueError: see `FittedDetector`; or the percentiles are out of range or order.
    """

    method = "react"
    fitter = ReActFitter
    entries: ClassVar = {"percentiles": real(1001, ascending=True)}
    layers = (PENULTIMATE,)
    percentiles: Tensor

    def __init__(
        self,
        statistics: str | Path | StatisticsFile,
        lower: float = 60.0,
        upper: float = 90.0,
        amplification: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(statistics)
        if not 0 <= lower <= upper <= 100:
            raise ValueError(
                "lower and upper must be percentiles in [0, 100], lower at most upper, got "
                f"{lower} and {upper}"
            )
        self.thresholds = (
            threshold_at(self.percentiles, lower),
            threshold_at(self.percentiles, upper),
        )
        self.amplification = amplification
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        rectified = rectify_activations(features, *self.thresholds, self.amplification)
        return energy(network.classify(rectified), self.temperature)

    def extra_repr(self) -> str:
        lower, upper = self.thresholds
        return f"thresholds=({lower:.6g}, {upper:.6g}), amplification={self.amplification}"
