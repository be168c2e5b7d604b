"""Scores that modify the penultimate activation before the classifier: ASH and SCALE.

penultimate (N,D,*) -> modified -> the network's classifier -> logits (N,C,*) -> energy (N,*)

The papers treat images, where a sample is one map before the spatial mean. In a dense network **a
sample is one pixel**: percentiles and sums run over the D channels of a pixel, never over the
image, so that the score of a pixel does not depend on the rest of the image. With few channels the
percentile is coarse: of 16 channels, 90 % keeps two.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ood_seg.detectors.base import Detector
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features
from ood_seg.scores import energy

# exp(60) times an activation times a weight is far below the largest float32.
_LARGEST_EXPONENT = 60.0
# With 10 of ERFNet's 16 channels ASH stays close to the energy; with 6 and fewer it degrades.
_FEW_CHANNELS = 5
_ASH_PERCENTILES = {"S": 90.0, "B": 65.0, "P": 60.0}


def shape_activations(features: Tensor, percentile: float, variant: str = "S") -> Tensor:
    """ASH: remove most of an activation and simplify or scale the rest.

    Source: Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution
    Detection", ICLR 2023, algorithms 1 to 3, and its released code. Of the D channels of a sample
    the `D - round(D * percentile / 100)` largest are kept, at least one (the lower index where
    equal); the others become 0. With the sums `s1` before and `s2` after that,

        variant "P":  the kept ones are unchanged
        variant "B":  each becomes s1 / number of kept ones
        variant "S":  each is multiplied by exp(s1 / s2)

    At percentile 0, P changes nothing, S multiplies by e, and B makes all equal. ASH is meant for
    activations after a ReLU; negative ones count as 0 here, as they would be removed first.

    Args:
        features: `(N, D, *)`.
        percentile: in `[0, 100)`.
        variant: `S`, `B` or `P`.

    Returns:
        `(N, D, *)`, not negative.

    Raises:
        ValueError: percentile or variant is out of range.
    """
    _check_variant(variant)
    features = features.clamp(min=0)
    kept = _largest(features, percentile)
    pruned = features * kept
    if variant == "P":
        return pruned
    if variant == "B":
        return features.sum(dim=1, keepdim=True) / kept.sum(dim=1, keepdim=True) * kept
    return pruned * _sum_ratio(features, pruned).exp()


def scale_activations(features: Tensor, percentile: float) -> Tensor:
    """SCALE: multiply the whole activation by `exp(s1 / s2)`, without removing anything.

    Source: Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection
    Enhancement", ICLR 2024, eqs. 5 and 6. `s1` is the sum of the channels of a sample and `s2`
    that of its largest, as in `shape_activations`; negative ones count as 0 in both sums, but are
    scaled like the others. At percentile 0 everything is multiplied by e.

    Args:
        features: `(N, D, *)`.
        percentile: in `[0, 100)`.

    Returns:
        `(N, D, *)`.

    Raises:
        ValueError: the percentile is out of range.
    """
    positive = features.clamp(min=0)
    ratio = _sum_ratio(positive, positive * _largest(positive, percentile))
    return features * ratio.exp()


def _check_variant(variant: str) -> None:
    if variant not in _ASH_PERCENTILES:
        raise ValueError(f"variant must be 'S', 'B' or 'P', got {variant!r}")


def _checked_percentile(percentile: float) -> float:
    if not 0 <= percentile < 100:
        raise ValueError(f"percentile must be in [0, 100), got {percentile}")
    return float(percentile)


def _largest(features: Tensor, percentile: float) -> Tensor:
    """Mask of the kept channels, `(N, D, *)` bool."""
    count = _num_kept(features.shape[1], percentile)
    smallest = features.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    kept = features >= smallest
    if int(kept.sum()) > count * smallest.numel():  # equal values: the lower indices
        above = features > smallest
        missing = count - above.sum(dim=1, keepdim=True)
        equal = kept & ~above
        kept = above | (equal & (equal.cumsum(dim=1) <= missing))
    return kept


def _num_kept(width: int, percentile: float) -> int:
    """Number of kept channels; half a channel is rounded to the even number, as by NumPy."""
    return max(1, width - round(width * _checked_percentile(percentile) / 100))


def _sum_ratio(features: Tensor, pruned: Tensor) -> Tensor:
    """`s1 / s2`, `(N, 1, *)`; 1 where a sample is all zero."""
    before, after = (values.sum(dim=1, keepdim=True) for values in (features, pruned))
    ratio = before / after.where(after > 0, torch.ones_like(after))
    return ratio.where(after > 0, torch.ones_like(ratio)).clamp(max=_LARGEST_EXPONENT)


class ASH(Detector):
    """Energy after `shape_activations`; warns if only a few channels are kept.

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
        _check_variant(variant)
        self.variant = variant
        default = _ASH_PERCENTILES[variant]
        self.percentile = _checked_percentile(default if percentile is None else percentile)
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
                "to distinguish the classes; set a lower percentile",
                stacklevel=2,
            )
        shaped = shape_activations(features, self.percentile, self.variant)
        return energy(network.classify(shaped), self.temperature)

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
        self.percentile = _checked_percentile(percentile)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        scaled = scale_activations(layer_features(outputs, PENULTIMATE), self.percentile)
        return energy(network.classify(scaled), self.temperature)

    def extra_repr(self) -> str:
        return f"percentile={self.percentile}"
