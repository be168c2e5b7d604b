"""Scores that change the penultimate activation before the classifier: ReAct, ASH and SCALE.

penultimate (N,D,*) -> changed -> the network's classifier -> logits (N,C,*) -> energy (N,*)

The papers are about images, where a sample is one activation vector after (ReAct) or map before
(ASH, SCALE) the spatial mean. In a dense network **a sample is one pixel**: percentiles and sums
of ASH and SCALE run over the D channels of a pixel, never over the picture, so that what a pixel
scores does not depend on what else is seen. With few channels the percentile is coarse: of 16
channels, 90 % keeps two.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ood_seg.detectors.base import Detector, FittedDetector, Fitter
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.scores import energy

# exp(60) times an activation times a weight is still far from float32's end.
_LARGEST_EXPONENT = 60.0
# Of ERFNet's 16 channels 10 keep ASH near the energy, 6 and fewer lose more the fewer they are.
_FEW_CHANNELS = 5
_ASH_PERCENTILES = {"S": 90.0, "B": 65.0, "P": 60.0}


def shape_activations(features: Tensor, percentile: float, variant: str = "S") -> Tensor:
    """ASH: remove most of an activation and simplify or scale the rest.

    Source: Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution
    Detection", ICLR 2023, algorithms 1 to 3. Of the D channels of a sample the
    `D - int(D * percentile / 100)` largest stay (the lower channel where equal), the others
    become 0. With the sums `s1` before and `s2` after that,

        variant "P":  they stay as they are
        variant "B":  each becomes s1 / number of those that stay
        variant "S":  each is multiplied by exp(s1 / s2)

    At percentile 0, P changes nothing, S multiplies by e, and B makes all equal. ASH is meant for
    activations after a ReLU; negative ones count as 0 here, since they would be removed first.

    Args:
        features: `(N, D, *)`.
        percentile: in `[0, 100)`.
        variant: `S`, `B` or `P`.

    Returns:
        `(N, D, *)`, not negative.

    Raises:
        ValueError: another percentile or variant.
    """
    if variant not in _ASH_PERCENTILES:
        raise ValueError(f"variant must be 'S', 'B' or 'P', got {variant!r}")
    features = features.clamp(min=0)
    kept = _largest(features, percentile)
    pruned = features * kept
    if variant == "P":
        return pruned
    if variant == "B":
        return features.sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True) * kept
    return pruned * _sum_ratio(features, pruned).exp()


def scale_activations(features: Tensor, percentile: float) -> Tensor:
    """SCALE: multiply the whole activation by `exp(s1 / s2)`, and remove nothing.

    Source: Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection
    Enhancement", ICLR 2024, eqs. 5 and 6. `s1` is the sum of the channels of a sample and `s2`
    that of its largest, as in `shape_activations`; negative ones count as 0 in both sums, but are
    scaled as the others. At percentile 0 everything is multiplied by e.

    Args:
        features: `(N, D, *)`.
        percentile: in `[0, 100)`.

    Raises:
        ValueError: another percentile.
    """
    positive = features.clamp(min=0)
    ratio = _sum_ratio(positive, positive * _largest(positive, percentile))
    return features * ratio.exp()


def check_percentile(percentile: float) -> float:
    """The percentile, if it is in `[0, 100)`.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= percentile < 100:
        raise ValueError(f"percentile must be in [0, 100), got {percentile}")
    return float(percentile)


def _largest(features: Tensor, percentile: float) -> Tensor:
    """Mask of the channels that stay, `(N, D, *)` bool."""
    order = features.argsort(dim=1, descending=True, stable=True)
    order = order[:, : _num_kept(features.shape[1], percentile)]
    return torch.zeros_like(features, dtype=torch.bool).scatter_(1, order, True)


def _num_kept(width: int, percentile: float) -> int:
    return width - math.floor(width * check_percentile(percentile) / 100)


def _sum_ratio(features: Tensor, pruned: Tensor) -> Tensor:
    """`s1 / s2`, `(N, 1, *)`; 1 where a sample is all zero."""
    before, after = (one.sum(dim=1, keepdim=True) for one in (features, pruned))
    ratio = before / after.where(after > 0, torch.ones_like(after))
    return ratio.where(after > 0, torch.ones_like(ratio)).clamp(max=_LARGEST_EXPONENT)


class ReAct(FittedDetector):
    """Energy after activations above a threshold, a percentile of known data, are clipped to it.

    Source: Sun, Guo and Li, "ReAct: Out-of-distribution Detection With Rectified Activations",
    NeurIPS 2021, eqs. 3 to 5. At percentile 100 the threshold is the largest activation of the
    sample, so that known data score their plain energy.

    Args:
        statistics: a file of `ood-seg fit`, or what it holds.
        percentile: of all channels of known pixels together, 0 to 100; 90 in the paper. Between
            the tenths of a percent that are kept it is interpolated.
        temperature: of the energy.

    Raises:
        ValueError: see `FittedDetector`; or another percentile.
    """

    method = "react"
    layers = (PENULTIMATE,)

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
        levels = np.linspace(0, 100, len(self.percentiles))
        self.threshold = float(np.interp(percentile, levels, self.percentiles.cpu().numpy()))

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        changed = layer_features(outputs, PENULTIMATE).clamp(max=self.threshold)
        return energy(network.classify(changed), self.temperature)

    def extra_repr(self) -> str:
        return f"percentile={self.percentile}, threshold={self.threshold:.6g}"

    @classmethod
    def fitter(cls, **options) -> Fitter:
        """See `ReActFitter`."""
        return ReActFitter(**options)


class ReActFitter:
    """Percentiles of the penultimate activations of known pixels, from an even sample.

    Args:
        sample_size: greatest number of pixels.
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
            ValueError: no known pixel, or activations that are not finite.
        """
        values = self.reservoir.require(1, "ReAct").numpy()
        found = np.percentile(values, np.linspace(0, 100, 1001))
        options = {"seed": self.reservoir.seed, "pixels": len(self.reservoir)}
        return Statistics(
            ReAct.method, {"percentiles": torch.from_numpy(found.astype(np.float32))}, options
        )


class ASH(Detector):
    """Energy after `shape_activations`; warns where only a handful of channels stays.

    Args:
        variant: `S`, `B` or `P`.
        percentile: None: the paper's for ImageNet, 90 (S), 65 (B) or 60 (P).
        temperature: of the energy.

    Raises:
        ValueError: see `shape_activations`.
    """

    layers = (PENULTIMATE,)

    def __init__(
        self, variant: str = "S", percentile: float | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if variant not in _ASH_PERCENTILES:
            raise ValueError(f"variant must be 'S', 'B' or 'P', got {variant!r}")
        self.variant = variant
        self.percentile = check_percentile(
            _ASH_PERCENTILES[variant] if percentile is None else percentile
        )
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        width = features.shape[1]
        kept = _num_kept(width, self.percentile)
        if kept < min(_FEW_CHANNELS, width):
            warnings.warn(
                f"ASH at percentile {self.percentile:g} keeps {kept} of {width} channels, too few "
                "to tell classes apart; set a lower percentile",
                stacklevel=2,
            )
        changed = shape_activations(features, self.percentile, self.variant)
        return energy(network.classify(changed), self.temperature)

    def extra_repr(self) -> str:
        return f"variant={self.variant!r}, percentile={self.percentile}"


class SCALE(Detector):
    """Energy after `scale_activations`.

    Args:
        percentile: 85 in the paper.
        temperature: of the energy.

    Raises:
        ValueError: see `scale_activations`.
    """

    layers = (PENULTIMATE,)

    def __init__(self, percentile: float = 85.0, temperature: float = 1.0) -> None:
        super().__init__()
        self.percentile = check_percentile(percentile)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        changed = scale_activations(features, self.percentile)
        return energy(network.classify(changed), self.temperature)

    def extra_repr(self) -> str:
        return f"percentile={self.percentile}"
