"""Evidence from files: a folder with a file per image, one file of boxes, or an ONNX model.

masks     NAME.png (8 or 16 bits) or NAME.npy: a label map, 0 where there is no object;
          NAME.npy: boolean (N, H, W); NAME.json: COCO annotations or their run lengths, as
          automatic mask generators write them
saliency  NAME.png (8 or 16 bits, the highest number is 1) or NAME.npy (0 to 1)
boxes     {"NAME": [{"box": [left, top, width, height], "known": true, "confidence": 0.9}]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ood_seg.datasets.coco_masks import drawn_mask
from ood_seg.datasets.listing import composed, files_by_stem, shorten
from ood_seg.io.fields import Fields, shown
from ood_seg.io.json_files import read_json
from ood_seg.refinement.boxes import Box

_MASK_SUFFIXES = (".png", ".npy", ".json")
_SALIENCY_SUFFIXES = (".png", ".npy")


class FolderSource:
    """One file per image, found by the name of the image.

    A name with folders is looked for in the same folders first, with ever fewer of them, then by
    its last part in any folder.

    Args:
        folder: of the files; subfolders are searched.
        suffixes: of the files.
        what: they hold, for the messages.
        decode: path and size of the image -> content.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it holds no such file.
    """

    def __init__(
        self,
        folder: Path,
        suffixes: Sequence[str],
        what: str,
        decode: Callable[[Path, tuple[int, int]], Any],
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{what}: folder {folder} does not exist")
        self._folder, self._suffixes, self._what, self._decode = folder, suffixes, what, decode
        self._files = files_by_stem(folder, suffixes, recursive=True)
        if not self._files:
            raise ValueError(f"{what}: {folder} holds no file of {', '.join(suffixes)}")
        self._by_last: dict[str, list[Path]] = {}
        for stem, paths in self._files.items():
            self._by_last.setdefault(stem.rpartition("/")[2], []).extend(paths)

    def __call__(self, name: str, size: tuple[int, int]) -> Any:
        """The evidence of an image.

        Raises:
            ValueError: no file or several files for the image, or one of another content or size.
        """
        stem = composed(name)
        full = next((self._files[end] for end in endings(stem) if end in self._files), None)
        paths = full or self._by_last.get(stem.rpartition("/")[2], [])
        if not paths:
            wanted = " or ".join(stem.rpartition("/")[2] + suffix for suffix in self._suffixes)
            raise ValueError(f"{self._what}: {self._folder} has no {wanted} for the image {name!r}")
        if len(paths) > 1:
            raise ValueError(f"{self._what}: several files for the image {name}: {shorten(paths)}")
        return self._decode(paths[0], size)


def endings(name: str) -> list[str]:
    """`a/b/c`, `b/c` and `c` for the name `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def mask_files(folder: Path) -> FolderSource:
    """Masks as `Evidence.masks` holds them."""
    return FolderSource(folder, _MASK_SUFFIXES, "masks", _read_masks)


def saliency_files(folder: Path) -> FolderSource:
    """Saliency maps as `Evidence.saliency` holds them."""
    return FolderSource(folder, _SALIENCY_SUFFIXES, "saliency", _read_saliency)


class BoxFile:
    """Boxes of all images in one JSON file, see the top of this module.

    `confidence` may be missing, which is 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such JSON; names the entry.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"boxes: file {path} does not exist")
        content = Fields(read_json(path), f"boxes: {path}").content
        self._path = path
        self._boxes = {composed(name): _boxes(path, name, entry) for name, entry in content.items()}
        if not self._boxes:
            raise ValueError(f"boxes: {path} names no image")

    def __call__(self, name: str, size: tuple[int, int]) -> list[Box]:
        """Boxes of an image; a ValueError if the file does not name it."""
        for end in endings(composed(name)):
            if end in self._boxes:
                return self._boxes[end]
        raise ValueError(
            f"boxes: {self._path} does not name the image {name!r}; an image without objects has "
            "an empty list"
        )


def _boxes(path: Path, name: str, entry: Any) -> list[Box]:
    if not isinstance(entry, list):
        raise ValueError(f"boxes: {path}: {name}: expected a list of boxes, got {shown(entry)}")
    found = []
    for index, one in enumerate(entry):
        fields = Fields(one, f"boxes: {path}: {name}: box {index}")
        box = fields.numbers("box")
        if len(box) != 4 or min(box[2:]) < 0:
            raise fields.wrong("box", "left, top, width and height, none of the last two negative")
        sure = fields.number("confidence", 0, 1) if "confidence" in fields.content else 1.0
        found.append(Box(*box, known=fields.flag("known"), confidence=sure))
    return found


def _read_masks(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A label map or boolean masks, of the size of the image."""
    if path.suffix.lower() == ".json":
        return _read_annotations(path, size)
    masks = _read_array(path, "masks")
    if masks.ndim == 3 and masks.dtype == np.uint8 and path.suffix.lower() == ".png":
        raise ValueError(f"masks: {path} is a colour image; expected one channel of numbers")
    _check_size(path, masks.shape[-2:], size, "masks")
    return masks


def _read_annotations(path: Path, size: tuple[int, int]) -> np.ndarray:
    content = read_json(path)
    listed = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise ValueError(f"masks: {path}: expected a list of annotations, got {shown(content)}")
    masks = np.zeros((len(listed), *size), bool)
    for index, one in enumerate(listed):
        # Annotations with a segmentation, or run lengths themselves.
        segmentation = one.get("segmentation", one) if isinstance(one, dict) else one
        masks[index] = drawn_mask(segmentation, *size, origin=f"masks: {path}: mask {index}")
    return masks


def _read_saliency(path: Path, size: tuple[int, int]) -> np.ndarray:
    values = _read_array(path, "saliency")
    if values.ndim != 2:
        raise ValueError(f"saliency: {path}: expected one channel (H, W), got shape {values.shape}")
    _check_size(path, values.shape, size, "saliency")
    if values.dtype.kind == "u":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    return checked_saliency(values, f"saliency: {path}")


def checked_saliency(values: np.ndarray, origin: str) -> np.ndarray:
    """The map as float32; a ValueError unless it consists of numbers from 0 to 1."""
    if values.dtype.kind != "f" or not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"{origin}: expected floats from 0 to 1, got {values.min():g} to {values.max():g} of "
            f"{values.dtype}"
        )
    return values.astype(np.float32, copy=False)


def _read_array(path: Path, what: str) -> np.ndarray:
    """The array of a `.npy`, or the numbers of an image as stored."""
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{what}: {path} is no array of numbers ({error})") from error
    content = np.fromfile(path, np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if image is None:
        raise ValueError(f"{what}: {path} is not an image, truncated or damaged")
    return image


def _check_size(path: Path, got: Sequence[int], size: tuple[int, int], what: str) -> None:
    if tuple(got) != tuple(size):
        raise ValueError(
            f"{what}: {path} has size {'x'.join(map(str, got))}, but the score map "
            f"{size[0]}x{size[1]} (height x width); make them at the size of the image"
        )
