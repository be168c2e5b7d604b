"""An even, seeded sample of pixels in bounded memory, whatever the batches and the ranks.

Every pixel of the stream gets a random key that depends on the seed, on the number of its image
in the whole stream and on its place in the image, and on nothing else. The pixels with the
smallest keys are the sample: an even one without replacement, the same one however the stream is
cut into batches, and one that merges over ranks by sorting the keys again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from ood_seg.detectors.ranks import is_distributed
from ood_seg.labels import IGNORE, OUTLIER


def labels_at(labels: Tensor, size: Sequence[int]) -> Tensor:
    """The labels at the centres of a coarser or finer grid of pixels.

    Args:
        labels: `(N, H, W)`, or `(N,)` of an image-level network.
        size: of the grid, `(h, w)`; empty for `(N,)`.

    Returns:
        `(N, *size)`: of each cell the label nearest to its centre, never a mixture.

    Raises:
        ValueError: dense labels for an image-level grid or the reverse.
    """
    if labels.ndim - 1 != len(size):
        raise ValueError(
            f"labels {tuple(labels.shape)} do not fit activations with {len(size)} spatial "
            "dimensions; expected (N, H, W) for dense networks and (N,) for image-level ones"
        )
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    # Class numbers and 255 are exact in float32, which every device can resample.
    resampled = functional.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")
    return resampled[:, 0].to(labels.dtype)


def pooled_to(features: Tensor, spatial: int) -> Tensor:
    """Activations `(N, D, *)`, averaged over the picture where the network is image-level.

    Args:
        features: activation of any layer.
        spatial: number of spatial dimensions of the network's logits: 2 dense, 0 image-level.
    """
    return features.flatten(2).mean(dim=2) if spatial == 0 and features.ndim > 2 else features


class PixelReservoir:
    """Keeps an even sample of at most `capacity` rows of a stream of activation maps.

    With `num_classes` the sample is balanced: `capacity // num_classes` rows of each class, fewer
    where the stream held fewer; a class that never occurs has none.

    In a distributed run images must be dealt out in turn (rank r has the images r, r + R, ... of
    R ranks), as samplers do; the merged sample is then that of a single process.

    Args:
        capacity: greatest number of rows.
        seed: fixes the keys, 0 or more.
        num_classes: of a sample balanced over the classes; None: an even one.
        outliers: sample the outlier pixels (254) instead of the known ones. Ignored pixels (255)
            never enter.

    Attributes:
        seen: number of pixels that could have entered so far.

    Raises:
        ValueError: for a capacity below one row (a class), or a balanced sample of outliers.
    """

    def __init__(
        self,
        capacity: int,
        seed: int = 0,
        *,
        num_classes: int | None = None,
        outliers: bool = False,
    ) -> None:
        if capacity < (num_classes or 1):
            raise ValueError(f"capacity must be at least {num_classes or 1} rows, got {capacity}")
        if num_classes is not None and outliers:
            raise ValueError("outliers have no classes over which a sample could be balanced")
        self.capacity = capacity
        self.seed = seed
        self.balanced = num_classes is not None
        self.outliers = outliers
        self.seen = 0
        self._images = 0
        # Where a class (or all) has its share, only keys below its largest one can still enter.
        self._limits = torch.full((num_classes or 1,), torch.inf, dtype=torch.float64)
        self._keys = torch.empty(0, dtype=torch.float64)
        self._labels = torch.empty(0, dtype=torch.int64)
        self._rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def rows(self) -> Tensor:
        """The sample, `(K, D)` float32 on the CPU, in order of the keys."""
        return torch.empty(0, 0) if self._rows is None else self._rows

    @property
    def labels(self) -> Tensor:
        """Their labels, `(K,)` int64."""
        return self._labels

    def require(self, minimum: int, what: str) -> Tensor:
        """The rows, if there are enough of them and all are numbers.

        Raises:
            ValueError: there are fewer than `minimum`, or some are infinite or NaN.
        """
        kind = f"outlier pixels (label {OUTLIER})" if self.outliers else "labelled known pixels"
        if len(self) < minimum:
            raise ValueError(
                f"{what} takes at least {minimum} {kind}, got {len(self)}; fit on more images, "
                "or see whether their labels are all ignored"
            )
        if not self.rows.isfinite().all():
            raise ValueError(
                f"{what}: some activations are infinite or NaN; run the network in float32"
            )
        return self.rows

    def update(self, maps: Tensor | Sequence[Tensor], labels: Tensor) -> None:
        """Show a batch of images.

        Args:
            maps: activations `(N, D, *)`. Of several, of any sizes, a row holds the channels of
                all side by side, each taken at the place of the pixel of the first.
            labels: `(N, H, W)` of any size, or `(N,)` for image-level networks, where the
                activations are averaged over the picture.

        Raises:
            ValueError: the batch sizes differ, labels and maps do not fit, or (balanced sample)
                a label is no class.
        """
        maps = [maps] if isinstance(maps, Tensor) else list(maps)
        sizes = {len(one) for one in (*maps, labels)}
        if len(sizes) > 1:
            raise ValueError(f"maps and labels must be of as many images, got {sorted(sizes)}")
        maps = [pooled_to(one.detach(), labels.ndim - 1) for one in maps]
        labels = labels_at(labels, maps[0].shape[2:]).long().cpu()
        for index in range(len(labels)):
            self._add_image([one[index] for one in maps], labels[index].flatten())

    def reduce(self) -> None:
        """Merge the samples of all processes of a distributed run, on each of them."""
        if not is_distributed():
            return
        parts: list = [None] * dist.get_world_size()
        dist.all_gather_object(parts, (self.seen, self._rows, self._keys, self._labels))
        self.seen = sum(part[0] for part in parts)
        filled = [part[1:] for part in parts if part[1] is not None]
        if filled:
            self._keep(*(torch.cat(columns) for columns in zip(*filled, strict=True)))

    def _add_image(self, maps: Sequence[Tensor], labels: Tensor) -> None:
        chosen, keys = self._candidates(labels)
        if len(chosen) == 0:
            return
        size = maps[0].shape[1:]
        columns = [_columns_at(one, chosen.to(one.device), size) for one in maps]
        rows = torch.cat(columns, dim=1)
        if self._rows is not None:
            if self._rows.shape[1] != rows.shape[1]:
                raise ValueError(
                    f"rows must have {self._rows.shape[1]} channels as the first, "
                    f"got {rows.shape[1]}"
                )
            rows = torch.cat([self._rows, rows])
        labels = torch.cat([self._labels, labels[chosen]])
        self._keep(rows, torch.cat([self._keys, keys]), labels)

    def _candidates(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers and keys of the pixels of the next image that may belong to the sample."""
        rank, ranks = _ranks()
        image = rank + ranks * self._images
        self._images += 1
        keys = torch.from_numpy(np.random.default_rng((self.seed, image)).random(len(labels)))
        wanted = labels == OUTLIER
        if not self.outliers:
            wanted = ~wanted & (labels != IGNORE)
        self.seen += int(wanted.sum())
        chosen = wanted.nonzero().flatten()
        chosen = chosen[keys[chosen] < self._limits[self._groups(labels[chosen])]]
        return chosen, keys[chosen]

    def _groups(self, labels: Tensor) -> Tensor:
        """Number of the share to which each row belongs."""
        if not self.balanced:
            return torch.zeros_like(labels)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self._limits):
            raise ValueError(
                f"known labels must be 0..{len(self._limits) - 1}, got "
                f"{int(labels.min())}..{int(labels.max())}"
            )
        return labels

    def _keep(self, rows: Tensor, keys: Tensor, labels: Tensor) -> None:
        """Keep the smallest keys of each share."""
        share = self.capacity // len(self._limits)
        order = keys.argsort()
        groups = self._groups(labels)[order]
        parts = []
        for group in groups.unique().tolist():
            part = order[groups == group][:share]
            if len(part) == share:
                self._limits[group] = keys[part[-1]]
            parts.append(part)
        order = torch.cat(parts)
        order = order[keys[order].argsort()]
        self._rows, self._keys, self._labels = rows[order], keys[order], labels[order]


def from_any_rank(value: Any) -> Any:
    """The value of the first process that has one other than None; collective."""
    if not is_distributed():
        return value
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return next((one for one in values if one is not None), None)


def _ranks() -> tuple[int, int]:
    """Number of this process, and of all."""
    return (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)


def _columns_at(one: Tensor, chosen: Tensor, size: Sequence[int]) -> Tensor:
    """Channels of a map `(D, *)` at the pixels numbered in a grid of another size, `(K, D)`."""
    if tuple(one.shape[1:]) != tuple(size):
        if one.ndim != 3 or len(size) != 2:
            raise ValueError(
                f"activations with {one.ndim - 1} and {len(size)} spatial dimensions cannot be "
                "sampled together"
            )
        (height, width), (grid_height, grid_width) = one.shape[1:], size
        down, right = chosen // grid_width, chosen % grid_width
        # The cell under the centre of the pixel, in integers: (2 d + 1) / 2 * height / grid.
        down = (2 * down + 1) * height // (2 * grid_height)
        right = (2 * right + 1) * width // (2 * grid_width)
        chosen = down * width + right
    columns = one.reshape(one.shape[0], math.prod(one.shape[1:]))[:, chosen]
    return columns.T.float().cpu()
