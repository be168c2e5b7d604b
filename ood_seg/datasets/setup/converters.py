"""Dataset converters: files that are computed from the published ones.

A converter takes the published files by role and key (see `catalog.PublishedDataset`) and the
folder of the dataset, and yields the files that it would write.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from ood_seg.datasets.coco_files import instances_by_image, read_annotations
from ood_seg.datasets.coco_rules import (
    CITYSCAPES_LIKE_CATEGORIES,
    PEBAL_EXCLUDED_CATEGORIES,
    PEBAL_MIN_IMAGE_SIZE,
    checked_categories,
    image_drop_reason,
)
from ood_seg.datasets.label_images import apply_label_table, decode_label_image, label_table
from ood_seg.datasets.label_maps import CITYSCAPES_IDS_TO_TRAIN_IDS
from ood_seg.datasets.setup.archives import Member
from ood_seg.io.images import decode_image

COCO_ANNOTATIONS, COCO_IMAGES = "annotations/instances_train2017.json", "train2017"
_OVERLAY_BYTES_PER_VALUE = 8


@dataclass(frozen=True)
class NewFile:
    """A file to write.

    Attributes:
        target: path below the folder of the dataset.
        size: bytes; of a computed file an upper estimate.
        write: writes it at the path that it is given; may return a note for the user.
        copied_from: the published file, if it is a copy.
    """

    target: str
    size: int
    write: Callable[[Path], str | None]
    copied_from: Member | None = None


Files = Mapping[str, Mapping[str, Member]]
Converter = Callable[[Files, Path], Iterator[NewFile]]


def no_files(files: Files, folder: Path) -> Iterator[NewFile]:
    """Yield nothing: the published files are all that is needed."""
    return iter(())


def train_id_files(files: Files, folder: Path) -> Iterator[NewFile]:
    """Yield Cityscapes trainIds beside the label ids, where none are published."""
    for key, label in files["label"].items():
        if key not in files["trainIds"]:
            target = f"gtFine/{key}_gtFine_labelTrainIds.png"
            yield NewFile(target, label.size, partial(_write_image, train_ids, (label,)))


def train_ids(content: bytes, source: object) -> np.ndarray:
    """Return the trainIds (0..18, 255) of a Cityscapes `*_labelIds.png`, `(H, W)` uint8.

    Raises:
        ValueError: not a label image, or values that are not Cityscapes ids.
    """
    table = label_table(CITYSCAPES_IDS_TO_TRAIN_IDS)
    return apply_label_table(decode_label_image(content, source), *table, source=source)


def composed_files(files: Files, folder: Path, *, version: str) -> Iterator[NewFile]:
    """Yield the composed images of Fishyscapes Static beside their labels."""
    for key in files["label"]:
        if key not in files["composed"]:
            # Labels and overlays are called `NNNN_` and the name of the Cityscapes image.
            overlay, image = files["overlay"][key], files["image"][key.partition("_")[2]]
            write = partial(_write_image, composed_image, (overlay, image))
            yield NewFile(f"fs_val_v{version}/{key}_rgb.png", 2 * image.size, write)


def composed_image(
    overlay: bytes, image: bytes, overlay_source: object, image_source: object
) -> np.ndarray:
    """Add a Fishyscapes Static overlay to its Cityscapes image and clip the sum to 0..255.

    Args:
        overlay: an npz archive with `rgb` (H, W, 3), the signed difference to the image.
        image: file of the image.
        overlay_source, image_source: named in errors.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        ValueError: a damaged file, no `rgb`, pickled content, another shape than that of the
            image, or values that are not finite numbers.
    """
    base = decode_image(image, image_source).astype(np.int64)
    difference = _read_overlay(overlay, base.shape, overlay_source)
    return np.clip(base + difference[..., ::-1], 0, 255).astype(np.uint8)


def _read_overlay(content: bytes, shape: tuple[int, ...], source: object) -> np.ndarray:
    expected = f"overlay {source}: expected an npz archive with one array 'rgb' of shape {shape}"
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            # Checked before it is unpacked: a few bytes can declare any number of them.
            declared = arrays.zip.getinfo("rgb.npy").file_size
            if declared > np.prod(shape) * _OVERLAY_BYTES_PER_VALUE + 4096:
                raise ValueError(f"it declares {declared} bytes")
            values = arrays["rgb"]
    except (ValueError, KeyError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{expected}; got something else: {error}") from error
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{expected} and finite numbers; got {values.dtype} {values.shape}")
    return values.astype(np.int64)


def outlier_files(files: Files, folder: Path, *, pebal: bool = False) -> Iterator[NewFile]:
    """Yield shortened COCO annotations, made from those that are in the folder by then.

    Args:
        files: published files.
        folder: of the dataset.
        pebal: also list what PEBAL pastes: images without any Cityscapes-like object, both sides
            at least 480 pixels.
    """
    rules: dict[str, tuple[tuple[str, ...], bool, int | None]] = {
        "outliers": (CITYSCAPES_LIKE_CATEGORIES, False, None)
    }
    if pebal:
        rules["outliers_pebal"] = (PEBAL_EXCLUDED_CATEGORIES, True, PEBAL_MIN_IMAGE_SIZE)
    for member in files["annotations"].values():
        for name, rule in rules.items():
            write = partial(_write_outliers, folder / COCO_ANNOTATIONS, rule)
            yield NewFile(f"annotations/{name}_train2017.json", member.size, write)


def outlier_annotations(
    ann_file: Path, exclude: tuple[str, ...], whole_images: bool, min_image_size: int | None
) -> tuple[dict, str]:
    """Shorten COCO's annotations to what can be pasted; `CocoObjects` reads the result.

    Args:
        ann_file: `instances_train2017.json`.
        exclude: categories that are not outliers.
        whole_images: drop images that hold one of them (PEBAL), not only these instances.
        min_image_size: smallest height and width of an image in pixels.

    Returns:
        The content of a shorter instance file, and one sentence about it.

    Raises:
        ValueError: see `read_annotations` and `instances_by_image`.
    """
    content = read_annotations(ann_file)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    known = tuple(names.values())
    excluded = checked_categories("exclude", exclude, known, default=exclude, ann_file=ann_file)
    images, annotations = [], []
    by_image = instances_by_image(content, ann_file)
    for image in content["images"]:
        entries = by_image[image["id"]]
        reason = image_drop_reason(
            image,
            {names[entry["category_id"]] for entry in entries},
            min_image_size=min_image_size,
            exclude_images_with=excluded if whole_images else frozenset(),
        )
        kept = [entry for entry in entries if names[entry["category_id"]] not in excluded]
        if reason is None and kept:
            images.append(image)
            annotations += kept
    sentence = (
        f"{len(images)} of {len(content['images'])} images and {len(annotations)} of "
        f"{len(content['annotations'])} instances can be pasted"
    )
    return {**content, "images": images, "annotations": annotations}, sentence


def _write_image(convert: Callable[..., np.ndarray], members: Sequence[Member], path: Path) -> None:
    """Write what `convert` makes of the contents of files, which it also gets to name in errors."""
    image = convert(*(member.read() for member in members), *members)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _write_outliers(ann_file: Path, rule: tuple, path: Path) -> str:
    content, sentence = outlier_annotations(ann_file, *rule)
    path.write_text(json.dumps(content), encoding="utf-8")
    return sentence
