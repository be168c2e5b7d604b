"""Reading COCO instance annotations, their masks and their pictures, with checks on the way.

`pycocotools.coco.COCO` is not used: it prints while it loads and indexes far more than is needed.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ood_seg.io.images import read_image

# What is read of each entry; other keys are ignored.
_NEEDED_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "segmentation"),
    "categories": ("id", "name"),
}


def read_annotations(ann_file: Path) -> dict[str, list[dict[str, Any]]]:
    """Load an instance annotation file.

    Args:
        ann_file: JSON as COCO publishes it.

    Returns:
        The lists `images`, `annotations` and `categories`; each entry has the keys that are read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON or no instance annotation file; the error says what is missing.
    """
    if not ann_file.is_file():
        raise FileNotFoundError(
            f"annotation file {ann_file} not found; expected COCO's instances_*.json, which stands "
            "in the archive `annotations_trainval2017.zip`"
        )
    try:
        content = json.loads(ann_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{ann_file} is not valid JSON: {error}") from error
    for part, keys in _NEEDED_KEYS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{ann_file} is no COCO instance file: it has no list {part!r}")
        for entry in entries:
            missing = [key for key in keys if key not in entry]
            if missing:
                raise ValueError(
                    f"{ann_file} is no COCO instance file: an entry of {part!r} (id "
                    f"{entry.get('id')}) has no {', '.join(map(repr, missing))}"
                )
    repeated = [key for key, n in Counter(e["id"] for e in content["images"]).items() if n > 1]
    if repeated:
        raise ValueError(f"{ann_file} lists image ids more than once: {repeated[:5]}")
    return {part: content[part] for part in _NEEDED_KEYS}


def instances_by_image(content: dict[str, list[dict]], ann_file: Path) -> dict[int, list[dict]]:
    """Group a file's annotations.

    Args:
        content: what `read_annotations` gave.
        ann_file: named in errors.

    Returns:
        For each image id its annotations in the order of their ids, an empty list for none.

    Raises:
        ValueError: an annotation refers to a picture or a category that is not listed.
    """
    categories = {entry["id"] for entry in content["categories"]}
    instances: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for entry in sorted(content["annotations"], key=lambda entry: entry["id"]):
        for key, listed in (("image_id", instances), ("category_id", categories)):
            if entry[key] not in listed:
                raise ValueError(
                    f"annotation {entry['id']} of {ann_file} has {key}={entry[key]}, "
                    "which the file does not list"
                )
        instances[entry["image_id"]].append(entry)
    return instances


def image_path(img_dir: Path, file_name: str, ann_file: Path) -> Path:
    """Where a picture lies, given the name that the annotation file gives it.

    Raises:
        ValueError: the name is absolute or leads out of `img_dir`.
    """
    # Both flavours, so that a file made elsewhere cannot slip through on either system.
    flavours = PurePosixPath(file_name), PureWindowsPath(file_name)
    if any(name.anchor or ".." in name.parts for name in flavours) or not flavours[0].parts:
        raise ValueError(
            f"{ann_file} names the picture {file_name!r}, which leads out of img_dir; "
            "expected a path relative to it"
        )
    return img_dir / file_name


def encode_mask(
    segmentation: Any, height: int, width: int, *, origin: str
) -> dict[str, Any] | None:
    """Bring an annotation's mask into compressed run lengths.

    Run lengths go down the columns, left to right, and alternate between background and object,
    background first.

    Args:
        segmentation: a list of polygons `[x0, y0, x1, y1, ...]`, or a dict with `size` `[h, w]`
            and `counts`, either a list of run lengths or COCO's compressed string.
        height: rows of the picture.
        width: columns of the picture.
        origin: named in errors.

    Returns:
        `{"size": [height, width], "counts": bytes}`, or None where the mask has no pixel.

    Raises:
        ValueError: neither polygons nor run lengths, or run lengths that do not fill the picture.
    """
    from pycocotools import mask as run_lengths

    if isinstance(segmentation, list):
        # pycocotools takes four numbers for a box, so lines must not reach it.
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            return None
        encoded = run_lengths.merge(run_lengths.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(
                f"{origin}: run lengths are made for a size of {segmentation['size']}, "
                f"the picture has [{height}, {width}] (h, w)"
            )
        counts = segmentation["counts"]
        if isinstance(counts, str):
            counts = expand_counts(counts)
        # Checked here because pycocotools reads uninitialised memory where runs are missing.
        if sum(counts) != height * width or min(counts) < 0:
            raise ValueError(
                f"{origin}: run lengths must be >= 0 and add up to {height * width} pixels, "
                f"got a sum of {sum(counts)} and a least length of {min(counts, default=None)}"
            )
        encoded = run_lengths.frPyObjects(
            {"size": [height, width], "counts": counts}, height, width
        )
    else:
        raise ValueError(f"{origin}: segmentation is neither polygons nor run lengths")
    return encoded if run_lengths.area(encoded) else None


def expand_counts(compressed: str) -> list[int]:
    """Undo COCO's compression of run lengths.

    A number is written in groups of five bits, lowest first, one character of value 48 + group
    each; bit 5 says that more groups follow, bit 4 of the last one is the sign. From the fourth
    number on, the difference to the number two places before is stored (COCO API, `maskApi.c`).

    Args:
        compressed: the string `counts` of an annotation.

    Returns:
        The run lengths; a broken string gives broken lengths, which the caller checks.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in compressed:
        group = ord(character) - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def decode_mask(counts: bytes, height: int, width: int) -> np.ndarray:
    """Turn run lengths from `encode_mask` into a `(height, width)` bool mask."""
    lengths = expand_counts(counts.decode())
    is_object = np.arange(len(lengths)) % 2 == 1
    return np.repeat(is_object, lengths).reshape((height, width), order="F")


def read_coco_image(path: Path, height: int, width: int) -> np.ndarray:
    """Read an image that annotations were made for.

    The EXIF orientation is not applied, since COCO's masks are drawn on the stored pixels.

    Args:
        path: the file.
        height, width: its size in pixels, as the annotation file states it.

    Returns:
        `(height, width, 3)` uint8, BGR.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an image, truncated, not of 8 bits, or of another size.
    """
    image = read_image(path, grey_ok=True, apply_orientation=False)
    if image.shape[:2] != (height, width):
        raise ValueError(
            f"{path} is {image.shape[0]}x{image.shape[1]}, its annotations are made for "
            f"{height}x{width} (h x w)"
        )
    return image
