"""Outlier images: folders, arrays, Tiny ImageNet and noise; all are labelled `OUTLIER`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.registry import DATASETS

from ood_seg.classification.datasets import ImageLevelDataset
from ood_seg.classification.tiny_imagenet_classes import AUXILIARY_CLASSES, TEST_CLASSES
from ood_seg.datasets.layouts import stays_inside
from ood_seg.datasets.listing import as_spelled, files_by_stem, shorten
from ood_seg.labels import OUTLIER

NOISE = ("gaussian", "uniform")


@DATASETS.register_module()
class ImageFolderDataset(ImageLevelDataset):
    """All images of a folder and its subfolders, or those of an SC-OOD list.

    A line of such a list holds a path and a dict with `sc_label`: -1 for an outlier, else the known
    class that the image shows, which then counts as known.

    Args:
        data_root: folder of the images.
        list_file: of SC-OOD, with paths below the root; None: all images.
        **options: see `ImageLevelDataset`.

    Source of the lists: Yang et al., "Semantically Coherent Out-of-Distribution Detection",
    ICCV 2021.

    Raises:
        FileNotFoundError: folder, list or a listed image does not exist.
        ValueError: a line of the list has another form, or leads out of the folder.
    """

    def __init__(self, data_root: str, *, list_file: str | None = None, **options: Any) -> None:
        self.list_file = list_file
        super().__init__(data_root, **options)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        folder = self.folder()
        if self.list_file is None:
            found = files_by_stem(folder, recursive=True).values()
            return [
                {"img_path": str(path), "gt_label": OUTLIER} for paths in found for path in paths
            ]
        listed = read_scood_list(Path(self.list_file))
        images = [(as_spelled(folder, name), label) for name, label in listed]
        missing = [str(path) for path, _ in images if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} images of {self.list_file} not found: {shorten(missing, 3)}"
            )
        return [
            {"img_path": str(path), "gt_label": OUTLIER if label < 0 else label}
            for path, label in images
        ]


def read_scood_list(path: Path) -> list[tuple[str, int]]:
    """Names and `sc_label` of the lines of an SC-OOD list.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of another form, or a name that leads out of its folder.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        try:
            label = ast.literal_eval(rest.strip())["sc_label"]
        except (ValueError, SyntaxError, KeyError, TypeError):
            label = None
        if type(label) is not int or not stays_inside(name):
            raise ValueError(
                f"{path}, line {number}: expected a path below the folder and a dict with "
                f"'sc_label', such as \"a/b.jpg {{'sc_label': -1}}\"; got {line[:80]!r}"
            )
        found.append((name, label))
    return found


@DATASETS.register_module()
class ImageArrayDataset(ImageLevelDataset):
    """Images of one `.npy` array `(N, H, W, 3)` uint8 RGB, such as 300K Random Images.

    The array is mapped, not read into memory.

    Args:
        data_root: folder of the file.
        file: its name.
        limit: only the first images; None: all.
        **options: see `ImageLevelDataset`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no such array, or fewer images than `limit`.
    """

    def __init__(
        self,
        data_root: str,
        *,
        file: str = "300K_random_images.npy",
        limit: int | None = None,
        **options: Any,
    ) -> None:
        self.file, self.limit = file, limit
        super().__init__(data_root, **options)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        path = self.folder() / self.file
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is no .npy file of images: {error}") from error
        shape = images.shape
        if images.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3:
            raise ValueError(
                f"{path}: expected an array (N, H, W, 3) of uint8, got {images.dtype} {shape}"
            )
        number = len(images) if self.limit is None else self.limit
        if not 0 < number <= len(images):
            raise ValueError(
                f"limit must be 1 to {len(images)}, the images of {path}; got {number}"
            )
        self._images = images
        return [{"img_path": f"{path}#{n}", "gt_label": OUTLIER} for n in range(number)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The sample with its image."""
        info = super().get_data_info(idx)
        return {**info, "img": np.ascontiguousarray(self._images[info["sample_idx"]][..., ::-1])}


@DATASETS.register_module()
class TinyImageNetDataset(ImageLevelDataset):
    """Images of some classes of Tiny ImageNet, from its folders `train` and `val`.

    The split decides on the classes, so that no class is in both: `train` has the auxiliary ones,
    `test` those for testing. `tiny_imagenet_classes.py` lists them; neither holds a class of
    CIFAR-10 or CIFAR-100.

    Args:
        data_root: `tiny-imagenet-200`.
        folders: which of `train` and `val` to take images from.
        **options: see `ImageLevelDataset`.

    Raises:
        FileNotFoundError: the folder of a class, or `val_annotations.txt`, does not exist.
        ValueError: another folder, or annotations of another form.
    """

    def __init__(
        self, data_root: str, *, folders: Sequence[str] = ("train", "val"), **options: Any
    ) -> None:
        if not folders or set(folders) - {"train", "val"}:
            raise ValueError(f"folders must be some of train, val; got {list(folders)}")
        self.folders = tuple(folders)
        super().__init__(data_root, **options)

    @property
    def wnids(self) -> tuple[str, ...]:
        """WordNet ids of the classes."""
        return tuple(AUXILIARY_CLASSES if self.split == "train" else TEST_CLASSES)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        found: list[Path] = []
        if "train" in self.folders:
            for wnid in self.wnids:
                images = files_by_stem(self.folder("train", wnid, "images"))
                found += [path for paths in images.values() for path in paths]
        if "val" in self.folders:
            found += self._validation_images()
        return [{"img_path": str(path), "gt_label": OUTLIER} for path in found]

    def _validation_images(self) -> list[Path]:
        annotations = self.folder("val") / "val_annotations.txt"
        rows = [line.split("\t") for line in annotations.read_text(encoding="utf-8").splitlines()]
        if not all(len(row) >= 2 and stays_inside(row[0]) for row in rows):
            raise ValueError(f"{annotations}: expected lines of NAME, WNID and a box, by tabs")
        folder = self.folder("val", "images")
        return [folder / name for name, wnid, *_ in rows if wnid in self.wnids]


@DATASETS.register_module()
class NoiseDataset(ImageLevelDataset):
    """Images of noise, each a function of seed and index.

    Gaussian: each value independent, of mean 0.5 and variance 1, clipped to [0, 1]; uniform: each
    value uniform on [0, 1]. Source: Liang, Li and Srikant, "Enhancing The Reliability of
    Out-of-distribution Image Detection in Neural Networks", ICLR 2018, appendix.

    Args:
        kind: `gaussian` or `uniform`.
        number: of images.
        size: height and width.
        seed: of the noise.
        **options: see `ImageLevelDataset`.

    Raises:
        ValueError: another kind.
    """

    def __init__(
        self, *, kind: str, number: int = 2000, size: int = 32, seed: int = 0, **options: Any
    ) -> None:
        if kind not in NOISE:
            raise ValueError(f"kind must be one of {', '.join(NOISE)}, got {kind!r}")
        self.kind, self.number, self.size, self.seed = kind, number, size, seed
        super().__init__(**options)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        name = f"{self.kind}-noise"
        return [{"img_path": f"{name}#{n}", "gt_label": OUTLIER} for n in range(self.number)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The sample with its image."""
        info = super().get_data_info(idx)
        random = np.random.default_rng([self.seed, NOISE.index(self.kind), info["sample_idx"]])
        shape = (self.size, self.size, 3)
        values = random.normal(0.5, 1, shape) if self.kind == "gaussian" else random.random(shape)
        return {**info, "img": np.rint(255 * values.clip(0, 1)).astype(np.uint8)}
