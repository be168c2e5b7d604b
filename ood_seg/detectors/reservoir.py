"""Uniform, seeded samples of pixels in bounded memory, independent of batches and ranks.

Every pixel of the data gets a random key that depends only on the seed, on the index of its image
in the whole data and on its position in the image. The pixels with the smallest keys are the
sample: uniform and without replacement, the same for any division into batches, and mergeable
over ranks by sorting the keys again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ood_seg.detectors.ranks import from_all_ranks, rank_and_count
from ood_seg.labels import IGNORE, OUTLIER

# Images of an image-level network whose keys come from one generator, as one for each takes longer
# than all the rest.
_BLOCK = 1024


def labels_at(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at the centres of the cells of a coarser or finer grid.

    Args:
        labels: `(N, H, W)`, or `(N,)` of an image-level network.
        size: of the grid, `(h, w)`; empty for `(N,)`.

    Returns:
        `(N, *size)`: for each cell the label nearest to its centre, never interpolated.

    Raises:
        ValueError: dense labels with an image-level grid or vice versa.
    """
    if labels.ndim - 1 != len(size):
        raise ValueError(
            f"labels {tuple(labels.shape)} do not match activations with {len(size)} spatial "
            "dimensions; expected (N, H, W) for dense networks and (N,) for image-level ones"
        )
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    # Labels are exact in float32, which can be resampled on every device.
    resampled = functional.interpolate(labels[:, None].float(), tuple(size), mode="nearest-exact")
    return resampled[:, 0].to(labels.dtype)


def pooled_to(features: Tensor, spatial: int) -> Tensor:
    """Activations `(N, D, *)`, averaged over the image if the network is image-level.

    Args:
        features: activation of any layer.
        spatial: number of spatial dimensions of the network's logits: 2 dense, 0 image-level.
    """
    return features.flatten(2).mean(dim=2) if spatial == 0 and features.ndim > 2 else features


class PixelReservoir:
    """A uniform sample of at most `capacity` pixels of a sequence of activation maps.

    With `num_classes` the sample is balanced: `capacity // num_classes` pixels of each class, or
    all of a class that has fewer.

    In a distributed run images must be assigned in turn (rank r gets the images r, r + R, ... of
    R ranks), as samplers do; the merged sample is then that of a single process.

    Args:
        capacity: maximum number of pixels.
        seed: of the keys, at least 0.
        num_classes: for a balanced sample; None: a uniform one.
        outliers: sample the outlier pixels (254) instead of the known ones. Ignored pixels (255)
            are never sampled.

    Attributes:
        seen: number of pixels the sample was drawn from so far.

    Raises:
        ValueError: the capacity is below one pixel (per class), or outliers are to be balanced.
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
            raise ValueError("a sample of outliers cannot be balanced, they have no classes")
        self.capacity = capacity
        self.seed = seed
        self.balanced = num_classes is not None
        self.outliers = outliers
        self.seen = 0
        self._images = 0
        # Largest key of each full share (one share per class, or one): only smaller keys enter.
        self._bounds = torch.full((num_classes or 1,), torch.inf, dtype=torch.float64)
        self._keys = torch.empty(0, dtype=torch.float64)
        self._labels = torch.empty(0, dtype=torch.int64)
        self._rows: Tensor | None = None
        # Rows, keys and labels that may enter the sample, and their number.
        self._candidates: list[tuple[Tensor, Tensor, Tensor]] = []
        self._waiting = 0

    def __len__(self) -> int:
        self._select()
        return len(self._keys)

    @property
    def rows(self) -> Tensor:
        """Activations of the sampled pixels, `(K, D)` float32 on the CPU, ordered by key."""
        self._select()
        return torch.empty(0, 0) if self._rows is None else self._rows

    @property
    def labels(self) -> Tensor:
        """Labels of the sampled pixels, `(K,)` int64."""
        self._select()
        return self._labels

    def require(self, minimum: int, purpose: str) -> Tensor:
        """The rows, if there are enough of them and all are finite.

        Args:
            minimum: least number of rows.
            purpose: what needs them, for the message.

        Raises:
            ValueError: there are fewer than `minimum`, or some are infinite or NaN.
        """
        kind = f"outlier pixels (label {OUTLIER})" if self.outliers else "labelled known pixels"
        if len(self) < minimum:
            raise ValueError(
                f"{purpose} needs at least {minimum} {kind}, got {len(self)}; fit on more images, "
                "or check whether all their labels are ignored"
            )
        if not self.rows.isfinite().all():
            raise ValueError(
                f"{purpose}: some activations are infinite or NaN; run the network in float32"
            )
        return self.rows

    def update(self, maps: Tensor | Sequence[Tensor], labels: Tensor) -> None:
        """Add a batch of images.

        Args:
            maps: activations `(N, D, *)`. With several, of any sizes, a row holds the channels of
                all of them, each read at the position of the pixel in the first.
            labels: `(N, H, W)` of any size, or `(N,)` for image-level networks, whose activations
                are averaged over the image.

        Raises:
            ValueError: the batch sizes differ, labels and maps do not match, or (balanced sample)
                a label is not a class.
        """
        maps = [maps] if isinstance(maps, Tensor) else list(maps)
        sizes = {len(part) for part in (*maps, labels)}
        if len(sizes) > 1:
            raise ValueError(f"maps and labels must be of equally many images, got {sorted(sizes)}")
        maps = [pooled_to(part.detach(), labels.ndim - 1) for part in maps]
        labels = labels_at(labels, maps[0].shape[2:]).long().cpu()
        if labels.ndim == 1:
            self._add([part.T for part in maps], labels, self._keys_of_rows(len(labels)))
            return
        for index in range(len(labels)):
            flat = labels[index].flatten()
            self._add([part[index] for part in maps], flat, self._keys_of_image(len(flat)))

    def reduce(self) -> None:
        """Give every process of a distributed run the merged sample; collective."""
        self._select()
        parts = from_all_ranks((self.seen, self._rows, self._keys, self._labels))
        self.seen = sum(part[0] for part in parts)
        filled = [part[1:] for part in parts if part[1] is not None]
        if len(parts) > 1 and filled:
            self._keep(*(torch.cat(columns) for columns in zip(*filled, strict=True)))

    def _keys_of_image(self, pixels: int) -> Tensor:
        """Keys of the pixels of the next image."""
        (image,) = self._next_images(1)
        return torch.from_numpy(np.random.default_rng((self.seed, image)).random(pixels))

    def _keys_of_rows(self, count: int) -> Tensor:
        """Keys of the next images of an image-level network, which have one pixel each."""
        blocks, places = np.divmod(self._next_images(count), _BLOCK)
        keys = np.empty(count)
        for block in np.unique(blocks):
            inside = blocks == block
            of_block = np.random.default_rng((self.seed, block)).random(_BLOCK)
            keys[inside] = of_block[places[inside]]
        return torch.from_numpy(keys)

    def _next_images(self, count: int) -> np.ndarray:
        """Indices in the whole data of the next images of this process."""
        rank, ranks = rank_and_count()
        self._images += count
        return rank + ranks * np.arange(self._images - count, self._images)

    def _add(self, maps: Sequence[Tensor], labels: Tensor, keys: Tensor) -> None:
        """Add the pixels of maps `(D, *)` that may enter the sample, given labels and keys `(P,)`.

        They are compared with the sample once they are as many as it can hold, because each
        comparison copies it.
        """
        wanted = labels == OUTLIER
        if not self.outliers:
            wanted = ~wanted & (labels != IGNORE)
        self.seen += int(wanted.sum())
        chosen = wanted.nonzero().flatten()
        chosen = chosen[keys[chosen] < self._bounds[self._shares(labels[chosen])]]
        if len(chosen) == 0:
            return
        size = maps[0].shape[1:]
        columns = [_columns_at(part, chosen.to(part.device), size) for part in maps]
        rows = torch.cat(columns, dim=1)
        before = self._candidates[0][0] if self._candidates else self._rows
        if before is not None and before.shape[1] != rows.shape[1]:
            raise ValueError(
                f"activations must have {before.shape[1]} channels as in the first batch, got "
                f"{rows.shape[1]}"
            )
        self._candidates.append((rows, keys[chosen], labels[chosen]))
        self._waiting += len(chosen)
        if self._waiting >= self.capacity:
            self._select()

    def _select(self) -> None:
        """Bring the sample up to date with the candidates."""
        if not self._candidates:
            return
        parts = list(self._candidates)
        if self._rows is not None:
            parts.append((self._rows, self._keys, self._labels))
        self._candidates, self._waiting = [], 0
        self._keep(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _shares(self, labels: Tensor) -> Tensor:
        """Index of the share that each pixel belongs to: its class, or 0."""
        if not self.balanced:
            return torch.zeros_like(labels)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self._bounds):
            raise ValueError(
                f"known labels must be 0..{len(self._bounds) - 1}, got "
                f"{int(labels.min())}..{int(labels.max())}"
            )
        return labels

    def _keep(self, rows: Tensor, keys: Tensor, labels: Tensor) -> None:
        """Keep the smallest keys of each share."""
        size = self.capacity // len(self._bounds)
        order = keys.argsort()
        shares = self._shares(labels)[order]
        parts = []
        for share in shares.unique().tolist():
            part = order[shares == share][:size]
            if len(part) == size:
                self._bounds[share] = keys[part[-1]]
            parts.append(part)
        order = torch.cat(parts)
        order = order[keys[order].argsort()]
        self._rows, self._keys, self._labels = rows[order], keys[order], labels[order]


def _columns_at(features: Tensor, chosen: Tensor, size: Sequence[int]) -> Tensor:
    """Channels of a map `(D, *)` at pixels given by their indices in a grid of `size`, `(K, D)`."""
    if tuple(features.shape[1:]) != tuple(size):
        if features.ndim != 3 or len(size) != 2:
            raise ValueError(
                f"activations with {features.ndim - 1} and {len(size)} spatial dimensions cannot "
                "be sampled together"
            )
        (height, width), (grid_height, grid_width) = features.shape[1:], size
        down, right = chosen // grid_width, chosen % grid_width
        # The cell that holds the centre of the pixel, in integers: (2 d + 1) / 2 * height / grid.
        down = (2 * down + 1) * height // (2 * grid_height)
        right = (2 * right + 1) * width // (2 * grid_width)
        chosen = down * width + right
    rows = features.reshape(len(features), math.prod(features.shape[1:])).T
    return rows[chosen].float().cpu()
