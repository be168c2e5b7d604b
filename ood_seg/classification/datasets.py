"""Datasets of images with one label each: the base class, and class folders.

A sample has `gt_label` (0..C-1, or `OUTLIER`), `split` and either `img_path` or, where the images
are stored in one array, `img` with a name for messages as `img_path`. Transforms do the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS

from ood_seg.classification.long_tail import long_tailed_counts
from ood_seg.datasets.listing import files_by_stem
from ood_seg.io.images import read_image

SPLITS = ("train", "test")
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


class ImageLevelDataset(BaseDataset):
    """Base of the datasets whose images have one label each.

    A subclass lists its images in `all_images`. Nothing is trained on images of the split `test`:
    the model's loss refuses them.

    Args:
        data_root: folder of the dataset.
        split: `train` or `test`.
        pipeline: transforms, the first of which is `LoadImageOfClass`.
        metainfo: names of the known classes as `classes`, where the dataset has none of its own.

    Raises:
        ValueError: another split, or no image.
        FileNotFoundError: the folder does not exist.
    """

    def __init__(
        self,
        data_root: str = "",
        *,
        split: str,
        pipeline: Sequence[Any] = (),
        metainfo: dict | None = None,
        **options: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        self.split = split
        super().__init__(data_root=data_root, pipeline=list(pipeline), metainfo=metainfo, **options)

    def all_images(self) -> list[dict[str, Any]]:
        """One dict for each image, with `gt_label` and `img_path`."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict[str, Any]]:
        """See `BaseDataset`."""
        found = self.all_images()
        if not found:
            raise ValueError(f"{type(self).__name__}: no image in {self.data_root}")
        for one in found:
            one["split"] = self.split
        return found

    def pixels(self, index: int) -> np.ndarray:
        """The image as it is stored, `(H, W, 3)` uint8 BGR."""
        info = self.get_data_info(index)
        return info["img"] if "img" in info else read_image(info["img_path"], grey_ok=True)

    def folder(self, *parts: str) -> Path:
        """A folder below the root.

        Raises:
            FileNotFoundError: it does not exist.
        """
        path = Path(self.data_root, *parts)
        if not path.is_dir():
            raise FileNotFoundError(
                f"{type(self).__name__}: folder {path} not found; `ood-seg prepare-data` unpacks "
                "the archives, see docs/data.md"
            )
        return path


class KnownClassImages(ImageLevelDataset):
    """Base of the datasets of known classes, which may be long-tailed and held back in part.

    Args:
        data_root: see `ImageLevelDataset`, like all arguments that are not listed.
        imbalance: images of the rarest class over those of the most frequent one, for a
            long-tailed version: the first ones of each class, in the order of the dataset; None:
            all images. See `long_tailed_counts`.
        holdout_every: every n-th image of each class is held back, before the long tail is made.
        held_out: True: only these; False: only the others.

    Raises:
        ValueError: a class has no image, or too few for the long tail; an option is out of range.
    """

    def __init__(
        self,
        data_root: str = "",
        *,
        imbalance: float | None = None,
        holdout_every: int | None = None,
        held_out: bool = False,
        **options: Any,
    ) -> None:
        if holdout_every is not None and holdout_every < 2:
            raise ValueError(f"holdout_every must be at least 2, got {holdout_every}")
        if held_out and holdout_every is None:
            raise ValueError("held_out=True needs holdout_every")
        self.imbalance = imbalance
        self.holdout_every = holdout_every
        self.held_out = held_out
        super().__init__(data_root, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """The chosen images of each class, class by class."""
        by_class: list[list[dict[str, Any]]] = [[] for _ in self.metainfo["classes"]]
        for one in super().load_data_list():
            by_class[one["gt_label"]].append(one)
        if self.holdout_every:
            by_class = [self._part(images, self.holdout_every) for images in by_class]
        counts = [len(images) for images in by_class]
        empty = [name for name, n in zip(self.metainfo["classes"], counts, strict=True) if not n]
        if empty:
            raise ValueError(
                f"{type(self).__name__}: no image of {', '.join(map(str, empty))} in the split "
                f"{self.split} of {self.data_root}"
            )
        if self.imbalance is not None:
            counts = self._long_tail(counts, self.imbalance)
        return [one for images, n in zip(by_class, counts, strict=True) for one in images[:n]]

    def _part(self, images: list[dict], every: int) -> list[dict]:
        chosen = (i for i in range(len(images)) if (i % every == every - 1) == self.held_out)
        return [images[index] for index in chosen]

    def _long_tail(self, present: list[int], factor: float) -> list[int]:
        wanted = long_tailed_counts(max(present), len(present), factor)
        few = [
            f"{name} has {n} of {count}"
            for name, n, count in zip(self.metainfo["classes"], present, wanted, strict=True)
            if n < count
        ]
        if few:
            raise ValueError(f"imbalance {factor}: too few images: {', '.join(few)}")
        return wanted


@DATASETS.register_module()
class ClassFolderDataset(KnownClassImages):
    """Images in `SPLIT/CLASS/*`, sorted by name; by default of CIFAR-10.

    Args:
        data_root: folder that holds `train` and `test`.
        classes: names of the folders in the order of the labels.
        **options: see `KnownClassImages`.

    Raises:
        FileNotFoundError: the folder of a class does not exist.
        ValueError: see `KnownClassImages`; or a folder beside those of the classes.
    """

    def __init__(
        self, data_root: str, *, classes: Sequence[str] = CIFAR10_CLASSES, **options: Any
    ) -> None:
        super().__init__(data_root, metainfo={"classes": tuple(classes)}, **options)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        classes = self.metainfo["classes"]
        present = {path.name for path in self.folder(self.split).iterdir() if path.is_dir()}
        if present - set(classes):
            raise ValueError(
                f"{self.folder(self.split)} holds folders of no class: "
                f"{', '.join(sorted(present - set(classes)))}; expected {', '.join(classes)}"
            )
        return [
            {"img_path": str(path), "gt_label": label}
            for label, name in enumerate(classes)
            for paths in files_by_stem(self.folder(self.split, name)).values()
            for path in paths
        ]
