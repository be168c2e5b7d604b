"""CIFAR-10 and CIFAR-100 from the official python batches, read as data and never as code."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmseg.registry import DATASETS

from ood_seg.classification.datasets import CIFAR10_CLASSES, KnownClassImages

# What the pickles of NumPy arrays name; nothing else is ever looked up.
_ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct",)
} | {("numpy", "ndarray"), ("numpy", "dtype")}
_SIDE, _VALUES = 32, 32 * 32 * 3
_LARGEST = 1 << 29


class _Version(NamedTuple):
    """Files by split, key of the labels, number of classes."""

    files: Mapping[str, tuple[str, ...]]
    labels: str
    num_classes: int


VERSIONS = {
    "cifar10": _Version(
        {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)},
        "labels",
        10,
    ),
    "cifar100": _Version({"train": ("train",), "test": ("test",)}, "fine_labels", 100),
}


class _Unpickler(pickle.Unpickler):
    """Reads containers, text, numbers and plain arrays; refuses any other object."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def read_batch(path: Path, version: str) -> tuple[np.ndarray, list[int]]:
    """Read one of the files of `cifar-10-batches-py` or `cifar-100-python`.

    Args:
        path: the file.
        version: `cifar10` or `cifar100`.

    Returns:
        Images `(N, 32, 32, 3)` uint8 BGR, and their labels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such batch, or names objects that no batch holds.
    """
    expected = VERSIONS[version]
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        content = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        content = {k.decode() if isinstance(k, bytes) else k: v for k, v in content.items()}
        return _checked(content, expected)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} not found; {version} is read from the folder that its python archive holds"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes meet
        raise ValueError(
            f"{path} is no python batch of {version} (a dict with data (N, {_VALUES}) uint8 and "
            f"{expected.labels} 0..{expected.num_classes - 1}): {error}"
        ) from error


def _checked(content: Mapping[str, Any], expected: _Version) -> tuple[np.ndarray, list[int]]:
    missing = [key for key in ("data", expected.labels) if key not in content]
    if missing:
        raise ValueError(f"{missing[0]!r} is missing among {sorted(map(str, content))}")
    data, labels = content["data"], content[expected.labels]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2:
        kind = f"{getattr(data, 'dtype', type(data).__name__)} {getattr(data, 'shape', '')}"
        raise ValueError(f"data is {kind}")
    if data.shape[1] != _VALUES or len(labels) != len(data):
        raise ValueError(f"data is {data.shape} with {len(labels)} labels")
    if not all(type(one) is int and 0 <= one < expected.num_classes for one in labels):
        raise ValueError(f"labels are not all 0..{expected.num_classes - 1}")
    # Stored as planes of red, green and blue.
    images = data.reshape(-1, 3, _SIDE, _SIDE)[:, ::-1].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), list(labels)


@DATASETS.register_module()
class CifarBatchesDataset(KnownClassImages):
    """CIFAR-10 or CIFAR-100 from `cifar-10-batches-py` or `cifar-100-python`.

    The images are held in memory, 150 MB for 50,000 of them.

    Args:
        data_root: folder of the batches.
        version: `cifar10` or `cifar100`.
        **options: see `KnownClassImages`.

    Raises:
        FileNotFoundError, ValueError: see `read_batch` and `KnownClassImages`.
    """

    def __init__(self, data_root: str, *, version: str = "cifar10", **options: Any) -> None:
        if version not in VERSIONS:
            raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
        self.version = version
        # Numbered where the batches do not name them; CIFAR-100 has its names in a file `meta`.
        names = CIFAR10_CLASSES if version == "cifar10" else tuple(map(str, range(100)))
        self._images: np.ndarray = np.empty((0, _SIDE, _SIDE, 3), np.uint8)
        super().__init__(data_root, metainfo={"classes": names}, **options)

    def all_images(self) -> list[dict[str, Any]]:
        """See `ImageLevelDataset`."""
        found: list[dict[str, Any]] = []
        parts: list[np.ndarray] = []
        for name in VERSIONS[self.version].files[self.split]:
            path = self.folder() / name
            images, labels = read_batch(path, self.version)
            start = len(found)
            parts.append(images)
            found += [
                {"img_path": f"{path}#{n}", "gt_label": label, "row": start + n}
                for n, label in enumerate(labels)
            ]
        self._images = np.concatenate(parts)
        return found

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The sample with its image."""
        info = super().get_data_info(idx)
        return {**info, "img": self._images[info["row"]].copy()}
