"""Gram matrices: correlations of channels over an image that known data never shows.

Source: Sastry and Oore, "Detecting Out-of-Distribution Examples with Gram Matrices", ICML 2020, and
its released code. The correlations are sums over the positions of an image, so the method has no
score for a single pixel: it exists for image-level networks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import activation
from ood_seg.detectors.ranks import from_all_ranks, rank_and_count
from ood_seg.detectors.sections import Entry, counts, real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.labels import split_labels
from ood_seg.precision import full_precision, without_autocast

_ORDERS = tuple(range(1, 11))
_SMALLEST = 1e-6


@without_autocast
def gram_statistics(features: Tensor, orders: Sequence[int]) -> Tensor:
    """Row sums of the Gram matrices of several orders, `sign(g) |g|^(1/p)`.

    For order p, `g_d = sum_e sum_x F_d(x)^p F_e(x)^p` over channels e and positions x.

    Args:
        features: `F`, `(N, D, *)`.
        orders: p, each at least 1.

    Returns:
        `(N, orders, D)`.
    """
    maps = features.flatten(2) if features.ndim > 2 else features.unsqueeze(2)
    # The statistics grow as the square of the activations; powers of 10 would overflow.
    scale = maps.abs().amax(dim=(1, 2), keepdim=True)
    maps = maps / scale.where(scale > 0, torch.ones_like(scale))
    parts = []
    for order in orders:
        powers = maps**order
        sums = (powers * powers.sum(dim=1, keepdim=True)).sum(dim=2)
        parts.append(sums.sign() * sums.abs() ** (1 / order))
    return torch.stack(parts, dim=1) * scale.square()


def deviation(statistics: Tensor, smallest: Tensor, largest: Tensor) -> Tensor:
    """Relative amount by which statistics leave their range, summed over all of an image.

    Args:
        statistics: `(N, orders, D)`.
        smallest: lower end of the range, same shape.
        largest: upper end.

    Returns:
        `(N,)`, at least 0.
    """
    below = (smallest - statistics).clamp(min=0) / (smallest + _SMALLEST).abs()
    above = (statistics - largest).clamp(min=0) / (largest + _SMALLEST).abs()
    return (below + above).sum(dim=(1, 2))


class _Ranges(NamedTuple):
    """Smallest and largest statistics of each class at one layer, `(C, orders, D)`."""

    smallest: Tensor
    largest: Tensor

    def joined(self, other: _Ranges) -> _Ranges:
        """The ranges that hold both."""
        return _Ranges(
            torch.minimum(self.smallest, other.smallest), torch.maximum(self.largest, other.largest)
        )


class GramMatricesFitter:
    """Ranges of the statistics by predicted class, and their mean deviation on other images.

    Every tenth image is held out: it does not widen the ranges, and the mean deviation of these
    images is the unit of each layer. Only images with a known label count.

    Args:
        layers: names of the activations, the earlier ones as maps.
        orders: of the Gram matrices.
        held_out: maximum number of held-out images of each process; later ones widen the ranges.

    Raises:
        ValueError: `layers` is empty or has duplicates, or an order is below 1.
    """

    def __init__(
        self, layers: Sequence[str], orders: Sequence[int] = _ORDERS, held_out: int = 1000
    ) -> None:
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers must be a list of distinct names, got {layers!r}")
        if not orders or min(orders) < 1:
            raise ValueError(f"orders must be integers from 1, got {orders!r}")
        self.layers = tuple(layers)
        self.orders = tuple(orders)
        self.held_out = held_out
        self._images = 0
        self._ranges: list[_Ranges] | None = None
        self._counts = torch.empty(0, dtype=torch.int64)
        self._kept: list[tuple[int, list[Tensor]]] = []  # predicted class, statistics by layer

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`.

        Raises:
            ValueError: the network is dense.
        """
        statistics = _statistics_of(outputs, self.layers, self.orders)
        predicted = outputs.logits.argmax(dim=1).cpu()
        if self._ranges is None:
            self._start(outputs.logits.shape[1], statistics)
        assert self._ranges is not None
        rank, ranks = rank_and_count()
        for index in split_labels(labels)[0].nonzero().flatten().tolist():
            image = rank + ranks * self._images
            self._images += 1
            values = [part[index].cpu() for part in statistics]
            if not all(value.isfinite().all() for value in values):
                raise ValueError("Gram matrices: some activations are infinite or NaN; use float32")
            row = int(predicted[index])
            if image % 10 == 9 and len(self._kept) < self.held_out:
                self._kept.append((row, values))
                continue
            self._counts[row] += 1
            for ranges, value in zip(self._ranges, values, strict=True):
                torch.minimum(ranges.smallest[row], value, out=ranges.smallest[row])
                torch.maximum(ranges.largest[row], value, out=ranges.largest[row])

    def reduce(self) -> None:
        """See `Fitter`."""
        parts = from_all_ranks((self._ranges, self._counts, self._kept))
        filled = [part for part in parts if part[0] is not None]
        if len(parts) < 2 or not filled:
            return
        first, *others = filled
        ranges, counts, kept = list(first[0]), first[1].clone(), list(first[2])
        for other in others:
            ranges = [a.joined(b) for a, b in zip(ranges, other[0], strict=True)]
            counts += other[1]
            kept += other[2]
        self._ranges, self._counts, self._kept = ranges, counts, kept

    def result(self) -> Statistics:
        """Tensors `smallest_l`, `largest_l (C, P, D)` of each layer l, `unit (L,)` of the layers,
        `orders (P,)` and `counts (C,)`, images by predicted class.

        A class that is never predicted has the ranges of all classes together.

        Raises:
            ValueError: there are fewer than ten known images.
        """
        if self._ranges is None or not self._kept:
            raise ValueError(
                f"Gram matrices need at least 10 known images, got {int(self._counts.sum())}"
            )
        tensors: dict[str, Tensor] = {"counts": self._counts}
        unit = []
        absent = self._counts == 0
        predicted = torch.tensor([row for row, _ in self._kept])
        for number, ranges in enumerate(self._ranges):
            smallest, largest = ranges.smallest.clone(), ranges.largest.clone()
            smallest[absent] = smallest[~absent].amin(dim=0)
            largest[absent] = largest[~absent].amax(dim=0)
            values = torch.stack([kept[number] for _, kept in self._kept])
            mean = deviation(values, smallest[predicted], largest[predicted]).double().mean()
            unit.append(mean.where(mean > 0, torch.ones_like(mean)).float())
            tensors |= {f"smallest_{number}": smallest, f"largest_{number}": largest}
        tensors["unit"] = torch.stack(unit)
        tensors["orders"] = torch.tensor(self.orders)
        options = {"layers": list(self.layers), "held_out": len(self._kept)}
        return Statistics(GramMatrices.method, tensors, options)

    def _start(self, num_classes: int, statistics: Sequence[Tensor]) -> None:
        self._counts = torch.zeros(num_classes, dtype=torch.int64)
        self._ranges = [
            _Ranges(
                torch.full((num_classes, *part.shape[1:]), torch.inf),
                torch.full((num_classes, *part.shape[1:]), -torch.inf),
            )
            for part in statistics
        ]


class GramMatrices(FittedDetector):
    """Deviation of the Gram statistics from their ranges in known data; image-level networks.

    The score is the sum over the layers of the deviation over its mean on held-out known images.
    As in the released code it uses the row sums of the Gram matrices instead of all their entries.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`; in the forward pass also for a dense network.
    """

    method = "gram"
    fitter = GramMatricesFitter
    entries: ClassVar = {
        "smallest_*": real("C", "P", "D*"),
        "largest_*": real("C", "P", "D*"),
        "unit": real("L", low=0, above=True),
        "orders": Entry(("P",), torch.int64, low=1),
        "counts": counts("C"),
    }
    read_options: ClassVar = {"layers": "names"}
    unit: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__(statistics)
        self.layers = tuple(self.options["layers"])
        self.orders_used = tuple(self.get_buffer("orders").tolist())

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N,)`, at least 0."""
        classes = outputs.logits.argmax(dim=1)
        total = full_precision(outputs.logits).new_zeros(len(outputs.logits))
        for number, values in enumerate(_statistics_of(outputs, self.layers, self.orders_used)):
            smallest, largest = (
                self.get_buffer(f"{name}_{number}").to(values)[classes]
                for name in ("smallest", "largest")
            )
            total = total + deviation(values, smallest, largest) / self.unit[number].to(values)
        return total

    def extra_repr(self) -> str:
        return f"layers={self.layers}, orders={self.orders_used}"


def _statistics_of(outputs: Outputs, layers: Sequence[str], orders: Sequence[int]) -> list[Tensor]:
    """`gram_statistics` of each layer.

    Raises:
        ValueError: the network is dense, or the outputs do not contain a layer.
    """
    if outputs.logits.ndim != 2:
        raise ValueError(
            "Gram matrices score whole images, because they compare correlations over all "
            f"positions; the network gives logits {tuple(outputs.logits.shape)} for each pixel"
        )
    return [gram_statistics(activation(outputs, name), orders) for name in layers]
