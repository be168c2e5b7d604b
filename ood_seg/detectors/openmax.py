"""OpenMax: probability of an unknown class, from the tails of distances to the class means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import check_classes, rows
from ood_seg.detectors.ranks import from_any_rank
from ood_seg.detectors.reservoir import PixelReservoir, labels_at
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.labels import IGNORE
from ood_seg.precision import full_precision, without_autocast

# libMR, which the paper uses, moves the smallest distance of a tail to this value before the fit.
_TRANSLATION = 10_000.0
_LARGEST_SHAPE = 1e12


def weibull_fit(values: Tensor) -> tuple[float, float]:
    """Maximum-likelihood shape and scale of a Weibull distribution that starts at 0.

    The shape is the root of an increasing function, found by bisection of its logarithm.

    Args:
        values: `(P,)` float64, positive.

    Raises:
        ValueError: there are fewer than two different values, so that the shape is unbounded.
    """
    largest = values.max()
    logs = (values / largest).log()
    if len(values) < 2 or not logs.min() < 0:
        raise ValueError(f"a Weibull distribution needs 2 different values, got {len(values)}")
    low, high = math.log(1e-6), math.log(_LARGEST_SHAPE)
    while high - low > 1e-14 * max(abs(high), 1):
        middle = (low + high) / 2
        shape = math.exp(middle)
        powers = (shape * logs).exp()
        slope = (powers * logs).sum() / powers.sum() - 1 / shape - logs.mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
        if middle in (low, high) and (low + high) / 2 in (low, high):
            break
    shape = math.exp((low + high) / 2)
    scale = largest * (shape * logs).exp().mean() ** (1 / shape)
    return shape, float(scale)


@without_autocast
def openmax_log_odds(
    logits: Tensor,
    centres: Tensor,
    shapes: Tensor,
    scales: Tensor,
    zeros: Tensor,
    top_classes: int,
) -> Tensor:
    """Log odds of the unknown class after OpenMax has revised the logits.

    The logit of the i-th most probable class, for i up to `top_classes`, is multiplied by
    `1 - (top_classes + 1 - i) / top_classes * w` with `w` the Weibull probability of its distance;
    what all lose is the logit of the unknown class (algorithm 2 of the paper).

    Args:
        logits: `(N, C, *)` in at least float32.
        centres: `(C, C)`, mean logits of each class.
        shapes: `(C,)`, of the Weibull distribution of each class; one with shape 0 is not revised.
        scales: `(C,)`, of the same.
        zeros: `(C,)`, the distances at which its argument equals its scale.
        top_classes: number of classes to revise, 1 to C.

    Returns:
        `(N, *)`; the sigmoid is the probability of the unknown class.
    """
    middle = centres.mean(dim=0)  # a point among the centres keeps the squares small
    shape = (-1, *[1] * (logits.ndim - 2))
    moved, targets = logits - middle.view(shape), centres - middle
    squares = moved.square().sum(dim=1, keepdim=True) + targets.square().sum(dim=1).view(shape)
    squares = squares - 2 * torch.einsum("nc...,kc->nk...", moved, targets)
    distances = squares.clamp(min=0).sqrt()
    exponents = shapes.view(shape)
    # ((d - start) / scale) ** shape, where start is far below and the shape large.
    argument = ((distances - zeros.view(shape)) / scales.view(shape)).clamp(min=-1 + 1e-7)
    outside = 1 - (-(exponents * argument.log1p()).exp()).exp()
    outside = outside.where(exponents > 0, torch.zeros_like(outside))
    order = logits.topk(top_classes, dim=1).indices
    steps = logits.new_tensor([1 - index / top_classes for index in range(top_classes)])
    ranks = steps.view(shape).expand_as(order)
    weights = torch.zeros_like(logits).scatter(1, order, ranks) * outside
    return (logits * weights).sum(dim=1) - (logits * (1 - weights)).logsumexp(dim=1)


class OpenMaxFitter:
    """Mean logits of each class, and the tail of the distances to them.

    Both are of the pixels that are classified correctly, at the resolution of the network's
    logits. The means are those of all of them, the tail consists of the largest distances in a
    seeded sample of the class.

    Args:
        tail: number of largest distances that a Weibull distribution is fitted to; 20 in the
            paper. A class with fewer correctly classified pixels has none.
        class_sample: maximum number of pixels of each class.
        seed: of the sample.

    Raises:
        ValueError: `tail` is below 2, or above `class_sample`.
    """

    layers: tuple[str, ...] = ()

    def __init__(self, tail: int = 20, class_sample: int = 2000, seed: int = 0) -> None:
        if not 2 <= tail <= class_sample:
            raise ValueError(f"tail must be 2 to class_sample = {class_sample}, got {tail}")
        self.tail = tail
        self.class_sample = class_sample
        self.seed = seed
        self._moments: ClassMoments | None = None
        self._reservoir: PixelReservoir | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        logits = full_precision(outputs.logits)
        if self._moments is None:
            self._moments = ClassMoments(logits.shape[1], scatter="none")
        if self._reservoir is None:
            self._reservoir = self._sample(logits.shape[1])
        labels = labels_at(labels, logits.shape[2:])
        labels = labels.where(labels == logits.argmax(dim=1), IGNORE)
        self._moments.update(rows(logits), labels.flatten())
        self._reservoir.update(logits, labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)
        classes = from_any_rank(None if self._moments is None else self._moments.num_classes)
        if classes is not None:
            self._reservoir = self._reservoir or self._sample(classes)
            self._reservoir.reduce()

    def result(self) -> Statistics:
        """Tensors `centres (C, C)`, `shapes`, `scales`, `zeros` and `counts (C,)`, the correctly
        classified pixels; see `openmax_log_odds`.

        Raises:
            ValueError: no class has enough correctly classified pixels, or logits are not finite.
        """
        moments, reservoir = self._moments, self._reservoir
        if moments is None or reservoir is None or not moments.counts.any():
            raise ValueError("OpenMax needs at least one known pixel that is classified correctly")
        sample = reservoir.require(1, "OpenMax").double()
        tails = torch.zeros(3, moments.num_classes, dtype=torch.float64)
        tails[1] = 1
        for index in range(moments.num_classes):
            of_class = sample[reservoir.labels == index]
            distances = (of_class - moments.means[index].cpu()).norm(dim=1)
            if len(distances) < self.tail:
                continue
            largest = distances.topk(self.tail).values
            start = float(largest.min()) - _TRANSLATION
            try:
                shape, scale = weibull_fit(largest - start)
            except ValueError:
                continue
            tails[:, index] = torch.tensor([shape, scale, start + scale])
        if not tails[0].any():
            raise ValueError(
                f"OpenMax needs a class with {self.tail} correctly classified pixels, found at "
                f"most {int(moments.counts.max())}; fit on more images, or set a smaller `tail`"
            )
        tensors = {
            "centres": moments.means.float(),
            **dict(zip(("shapes", "scales", "zeros"), tails.float().unbind(), strict=True)),
            "counts": moments.counts.long(),
        }
        options = {"tail": self.tail, "class_sample": self.class_sample, "seed": self.seed}
        return Statistics(OpenMax.method, tensors, options)

    def _sample(self, num_classes: int) -> PixelReservoir:
        return PixelReservoir(num_classes * self.class_sample, self.seed, num_classes=num_classes)


class OpenMax(FittedDetector):
    """Log odds of an unknown class.

    Source: Bendale and Boult, "Towards Open Set Deep Networks", CVPR 2016, algorithms 1 and 2,
    with the Euclidean distance and libMR's shift of the tail. The sigmoid of the score is the
    paper's probability of the unknown class, which has steps and ties near 0 and 1 in float32. A
    class that has no tail (see `OpenMaxFitter`) is not revised.

    Args:
        statistics: see `FittedDetector`.
        top_classes: number of most probable classes that are revised; 10 in the paper. More than
            C: all.

    Raises:
        ValueError: see `FittedDetector`; `top_classes` is below 1; in the forward pass also for
            logits of other classes.
    """

    method = "openmax"
    needs = "logits"
    jumps = True
    fitter = OpenMaxFitter
    entries: ClassVar = {
        "centres": real("C", "C"),
        "shapes": real("C", low=0),
        "scales": real("C", low=0, above=True),
        "zeros": real("C"),
        "counts": counts("C"),
    }
    centres: Tensor
    shapes: Tensor
    scales: Tensor
    zeros: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, top_classes: int = 10) -> None:
        super().__init__(statistics)
        if top_classes < 1:
            raise ValueError(f"top_classes must be at least 1, got {top_classes}")
        self.top_classes = min(top_classes, len(self.centres))

    def forward(self, logits: Tensor) -> Tensor:
        """Scores `(N, *)` of logits `(N, C, *)`."""
        check_classes(logits, len(self.centres), self.origin)
        logits = full_precision(logits)
        tensors = (self.centres, self.shapes, self.scales, self.zeros)
        return openmax_log_odds(logits, *(one.to(logits) for one in tensors), self.top_classes)

    def extra_repr(self) -> str:
        return f"top_classes={self.top_classes}"
