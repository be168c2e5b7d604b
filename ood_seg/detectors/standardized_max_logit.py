"""Standardized max logits (SML): the largest logit, standardised by predicted class.

```
logits -> arg-max, max -> (mean_c - max) / std_c -> boundary suppression -> dilated smoothing
```

Source: Jung et al., "Standardized Max Logits: A Simple yet Effective Approach for Identifying
Unexpected Road Obstacles in Urban-Scene Segmentation", ICCV 2021, and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import check_classes, full_size_logits
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.labels import split_labels
from ood_seg.precision import full_precision, without_autocast
from ood_seg.smoothing import gaussian_kernel

WIDTHS = (3, 2, 1, 0)
_KERNEL_SIZE, _DILATION = 7, 6


def standardized_max_logit(logits: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """`(mean_c - max_c f(x)) / std_c` of the class c of the largest logit (eq. 3, negated).

    Args:
        logits: `f(x)`, `(N, C, *)`.
        mean: `(C,)`, mean of the largest logit where the class is predicted.
        std: `(C,)`, its standard deviation, positive.

    Returns:
        Scores `(N, *)`, at least float32.
    """
    return _standardized(*full_precision(logits).max(dim=1), mean, std)


def class_boundaries(classes: Tensor) -> Tensor:
    """Mask of class boundaries, as in the released code.

    A pixel is on a boundary if the largest class index in the cross around it differs from the
    smallest in its 3x3 neighbourhood.

    Args:
        classes: `(N, H, W)` class indices.

    Returns:
        `(N, H, W)` bool; neighbours outside of the image are ignored.
    """
    values = classes.unsqueeze(1).float()
    smallest = -F.max_pool2d(-values, 3, stride=1, padding=1)
    return (_grown(values) != smallest).squeeze(1)


@without_autocast
def suppress_boundaries(scores: Tensor, classes: Tensor, widths: Sequence[int] = WIDTHS) -> Tensor:
    """Replace scores at class boundaries by those nearby, from the outside inwards (section 3.3).

    For each width in turn, pixels within that distance of a boundary (city block) get the mean of
    the pixels in their 3x3 that are farther away; if there are none, they are unchanged.

    Args:
        scores: `(N, H, W)`.
        classes: `(N, H, W)` predicted classes.
        widths: of the boundary in pixels, one per iteration.

    Returns:
        `(N, H, W)`.
    """
    near = class_boundaries(classes).unsqueeze(1).to(scores.dtype)
    grown = [near]
    for _ in range(max(widths, default=0)):
        grown.append(_grown(grown[-1]))
    scores = scores.unsqueeze(1)
    for width in widths:
        away = 1 - grown[width]
        total = _sum_3x3(scores * away)
        count = _sum_3x3(away)
        mean = total / count.clamp(min=1)
        scores = torch.where((away == 0) & (count > 0), mean, scores)
    return scores.squeeze(1)


@without_autocast
def smooth_dilated(
    scores: Tensor,
    kernel_size: int = _KERNEL_SIZE,
    sigma: float = 1.0,
    dilation: int = _DILATION,
) -> Tensor:
    """Blur with a dilated Gaussian, borders repeated.

    Args:
        scores: `(N, H, W)`.
        kernel_size: odd number of taps.
        sigma: standard deviation in taps.
        dilation: distance between taps in pixels.

    Returns:
        `(N, H, W)`.
    """
    kernel = gaussian_kernel(kernel_size, sigma, dtype=scores.dtype, device=scores.device)
    reach = kernel_size // 2 * dilation
    maps = F.pad(scores.unsqueeze(1), (reach, reach, reach, reach), mode="replicate")
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1), dilation=dilation)
    return F.conv2d(maps, kernel.view(1, 1, -1, 1), dilation=dilation).squeeze(1)


class StandardizedMaxLogitFitter:
    """Mean and unbiased variance of the largest logit, by predicted class.

    The logits are interpolated to the labels' size first, as in the released code. The labels only
    select the known pixels; the released code uses all pixels.

    A class that is predicted on too few pixels, or whose largest logit does not vary, gets the
    statistics of all classes together: the deviation of a few adjacent pixels is close to 0 and
    would make every later pixel of the class an extreme. The released code has no such rule.

    Args:
        min_pixels: number of pixels from which a class has its own statistics, at least 2.

    Raises:
        ValueError: min_pixels is below 2.
    """

    layers: tuple[str, ...] = ()

    def __init__(self, min_pixels: int = 100) -> None:
        if min_pixels < 2:
            raise ValueError(f"min_pixels must be at least 2, got {min_pixels}")
        self.min_pixels = min_pixels
        self._moments: ClassMoments | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        largest, classes = full_size_logits(outputs, labels, network).max(dim=1)
        known = split_labels(labels)[0]
        if self._moments is None:
            self._moments = ClassMoments(outputs.logits.shape[1], scatter="class")
        self._moments.update(largest[known].unsqueeze(1), classes[known])

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)

    def result(self) -> Statistics:
        """Tensors `mean (C,)`, `std (C,)` and `counts (C,)`, pixels by predicted class.

        Raises:
            ValueError: there are fewer than two known pixels, or their largest logits are equal.
        """
        moments = self._moments
        count = 0 if moments is None else int(moments.counts.sum())
        if moments is None or count < 2:
            raise ValueError(f"SML needs at least 2 known pixels, found {count}")
        pooled = moments.pooled()
        spread = pooled.covariance(ddof=1)[0, 0]
        if not spread > 0:
            raise ValueError(
                f"the largest logit of all {count} known pixels is {pooled.means.item():g} (or no "
                "finite number), so SML has no deviation for the standardisation"
            )
        variance = moments.covariance(ddof=1)[:, 0, 0]
        enough = (moments.counts >= self.min_pixels) & (variance > 0)
        tensors = {
            "mean": moments.means[:, 0].where(enough, pooled.means[0, 0]).float(),
            "std": variance.where(enough, spread).sqrt().float(),
            "counts": moments.counts.long(),
        }
        return Statistics(StandardizedMaxLogit.method, tensors, {"min_pixels": self.min_pixels})


class StandardizedMaxLogit(FittedDetector):
    """SML score of logits at full resolution, as in the paper.

    Args:
        statistics: see `FittedDetector`.
        boundary_suppression: whether to suppress class boundaries; dense logits only.
        dilated_smoothing: whether to smooth as the last step; dense logits only.

    Raises:
        ValueError: see `FittedDetector`; in the forward pass for logits of other classes, or for
            image-level logits if one of the two steps is enabled.
    """

    method = "sml"
    needs = "logits"
    fitter = StandardizedMaxLogitFitter
    entries: ClassVar = {
        "mean": real("C"),
        "std": real("C", low=0, above=True),
        "counts": counts("C", present="optional"),
    }
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        statistics: str | Path | StatisticsFile,
        boundary_suppression: bool = True,
        dilated_smoothing: bool = True,
    ) -> None:
        super().__init__(statistics)
        self.boundary_suppression = boundary_suppression
        self.dilated_smoothing = dilated_smoothing
        self.pointwise = not (boundary_suppression or dilated_smoothing)

    @property
    def label_reach(self) -> int:
        """Distance in pixels up to which a change of one predicted class changes scores."""
        # A boundary depends on the adjacent pixels, is widened, and each width averages over 3x3.
        suppression = 1 + max(WIDTHS) + len(WIDTHS) if self.boundary_suppression else 0
        return suppression + (_KERNEL_SIZE // 2 * _DILATION if self.dilated_smoothing else 0)

    def forward(self, logits: Tensor) -> Tensor:
        """Scores `(N, *)` of logits `(N, C, *)`."""
        check_classes(logits, len(self.mean), self.origin)
        dense = logits.ndim == 4
        if not dense and (self.boundary_suppression or self.dilated_smoothing):
            raise ValueError(
                f"boundary suppression and dilated smoothing need logits (N, C, H, W), got "
                f"{tuple(logits.shape)}; disable both for image-level logits"
            )
        largest, classes = full_precision(logits).max(dim=1)
        scores = _standardized(largest, classes, self.mean, self.std)
        if self.boundary_suppression:
            scores = suppress_boundaries(scores, classes)
        return smooth_dilated(scores) if self.dilated_smoothing else scores

    def extra_repr(self) -> str:
        return (
            f"boundary_suppression={self.boundary_suppression}, "
            f"dilated_smoothing={self.dilated_smoothing}"
        )


def _standardized(largest: Tensor, classes: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """`standardized_max_logit` of the largest logits `(N, *)` and their classes."""
    return (mean.to(largest)[classes] - largest) / std.to(largest)[classes]


def _grown(maps: Tensor) -> Tensor:
    """Largest value in the cross of each pixel and its four neighbours, `(N, 1, H, W)`."""
    across = F.max_pool2d(maps, (1, 3), stride=1, padding=(0, 1))
    return torch.maximum(across, F.max_pool2d(maps, (3, 1), stride=1, padding=(1, 0)))


def _sum_3x3(maps: Tensor) -> Tensor:
    """Sum over the 3x3 around each pixel of `(N, 1, H, W)`, borders repeated."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return 9 * F.avg_pool2d(padded, 3, stride=1)  # a divisor of 1 is lost in ONNX
