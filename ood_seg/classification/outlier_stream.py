"""Known and outlier images of a training, in batches of both kinds, and their overlap check."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from ood_seg.classification.datasets import ImageLevelDataset
from ood_seg.datasets.listing import shorten
from ood_seg.datasets.seeded_samples import SeededSamples


@DATASETS.register_module()
class KnownWithOutliers(Dataset):
    """An endless stream of `num_known` known images, `num_outliers` outlier images, and so on.

    With `StreamSampler` and a batch size of `num_known + num_outliers` each batch has exactly that
    many of both. Each kind is shuffled again on its own when all its images have been used, so
    neither source is cut to the length of the other. Sample n depends on the seed and n alone.

    In a distributed run let both numbers be multiples of the number of processes.

    Args:
        known: dataset, or its config, of the known classes, of the split `train`.
        outliers: dataset, or its config, of auxiliary outliers, of the split `train`.
        num_known: known images of a batch; the published recipes take 128.
        num_outliers: outlier images of a batch; there 256.
        seed: None for the seed that the process was given.

    Raises:
        ValueError: a dataset of the split `test`, images that both hold, or a number below 1.
    """

    def __init__(
        self,
        known: dict | ImageLevelDataset,
        outliers: dict | ImageLevelDataset,
        *,
        num_known: int = 128,
        num_outliers: int = 256,
        seed: int | None = None,
    ) -> None:
        if min(num_known, num_outliers) < 1:
            raise ValueError(f"num_known and num_outliers: {num_known}, {num_outliers} below 1")
        parts: list[Any] = [
            DATASETS.build(part) if isinstance(part, dict) else part for part in (known, outliers)
        ]
        for name, part in zip(("known", "outliers"), parts, strict=True):
            if part.split != "train":
                raise ValueError(
                    f"{name}: {type(part).__name__} of {part.data_root} has the split "
                    f"{part.split}, on which nothing is trained; give split='train'"
                )
        require_disjoint(*parts)
        seed = torch.initial_seed() if seed is None else seed
        self.known, self.outliers = (
            SeededSamples(part, seed + number) for number, part in enumerate(parts)
        )
        self.num_known, self.num_outliers = num_known, num_outliers

    @property
    def metainfo(self) -> dict:
        """Meta information of the known images."""
        return self.known.metainfo

    def __len__(self) -> int:
        """Samples until every known image has been used once, in whole batches."""
        batches = -(-len(self.known) // self.num_known)
        return batches * (self.num_known + self.num_outliers)

    def __getitem__(self, position: int) -> dict:
        """Sample at a position of the stream, any number from 0 on."""
        batch, place = divmod(int(position), self.num_known + self.num_outliers)
        if place < self.num_known:
            return self.known[batch * self.num_known + place]
        return self.outliers[batch * self.num_outliers + place - self.num_known]


def require_disjoint(known: ImageLevelDataset, outliers: ImageLevelDataset) -> None:
    """Raise where an outlier image is one of the known ones, pixel by pixel.

    The pixels as stored are compared by SHA-256, so that neither name nor file format matters.

    Raises:
        ValueError: with the number of such images and the first ones.
    """
    names = {content_hash(known, n): known.get_data_info(n)["img_path"] for n in range(len(known))}
    shared = [
        f"{outliers.get_data_info(n)['img_path']} = {names[digest]}"
        for n in range(len(outliers))
        if (digest := content_hash(outliers, n)) in names
    ]
    if shared:
        raise ValueError(
            f"{len(shared)} auxiliary outliers are images of the known data: {shorten(shared, 3)}; "
            "remove them from the outliers"
        )


def content_hash(dataset: ImageLevelDataset, index: int) -> bytes:
    """SHA-256 of size and pixels of an image as it is stored."""
    pixels = dataset.pixels(index)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
