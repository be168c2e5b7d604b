"""Reading COCO instance annotations and the images they are made for.

`pycocotools.coco.COCO` is not used: it prints while it loads and indexes far more than is needed.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ood_seg.datasets.listing import as_spelled, shorten
from ood_seg.io.images import MAX_PIXELS, read_image

# What is read of each entry; other keys are ignored.
_NEEDED_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("id", "image_id", "category_id", "segmentation"),
    "categories": ("id", "name"),
}
_NUMBERS = {"id", "image_id", "category_id", "height", "width"}
# Longer names exist on no file system in use.
_MAX_NAME_BYTES = 255


def read_annotations(ann_file: Path) -> dict[str, list[dict[str, Any]]]:
    """Load an instance annotation file.

    Numbers that are written as text become numbers. Where an image has no `file_name`, as in LVIS,
    the name is that in its `coco_url`; an annotation that has only a box has a `segmentation` of
    None.

    Args:
        ann_file: JSON as COCO publishes it.

    Returns:
        The lists `images`, `annotations` and `categories`; each entry has the keys that are read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not JSON or not an instance annotation file; the message names what is missing
            or of a wrong type, and the entry.
    """
    if not ann_file.is_file():
        raise FileNotFoundError(
            f"annotation file {ann_file} not found; expected COCO's instances_*.json, which is in "
            "the archive `annotations_trainval2017.zip`"
        )
    try:
        content = json.loads(ann_file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{ann_file} is not valid JSON: {error}") from error
    for part in _NEEDED_KEYS:
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{ann_file} is no COCO instance file: it has no list {part!r}")
        for entry in entries:
            _complete(entry, part, ann_file)
    repeated = [key for key, n in Counter(e["id"] for e in content["images"]).items() if n > 1]
    if repeated:
        raise ValueError(f"{ann_file} lists image ids more than once: [{shorten(repeated, 5)}]")
    return {part: content[part] for part in _NEEDED_KEYS}


def _complete(entry: Any, part: str, ann_file: Path) -> None:
    """Check an entry, and bring what has a plain meaning into the usual form."""
    if not isinstance(entry, dict):
        raise ValueError(f"{ann_file}: expected objects in {part!r}, got {entry!r}")
    if part == "images" and entry.get("file_name") is None and entry.get("coco_url"):
        entry["file_name"] = PurePosixPath(urlsplit(str(entry["coco_url"])).path).name
    if part == "annotations" and "bbox" in entry:
        entry.setdefault("segmentation", None)
    missing = [key for key in _NEEDED_KEYS[part] if key not in entry]
    if missing:
        raise ValueError(
            f"{ann_file} is no COCO instance file: an entry of {part!r} (id "
            f"{entry.get('id')}) has no {', '.join(map(repr, missing))}"
        )
    for key in _NEEDED_KEYS[part]:
        value = entry[key]
        if key in _NUMBERS and type(value) is not int:
            entry[key] = _integer(value, key, entry, ann_file)
        elif key in ("file_name", "name") and not isinstance(value, str):
            raise _wrong_value(f"{key}: expected text, got {value!r}", entry, ann_file)
    if entry.get("iscrowd"):
        entry["iscrowd"] = _integer(entry["iscrowd"], "iscrowd", entry, ann_file)
    if part == "images" and not 0 < entry["height"] * entry["width"] <= MAX_PIXELS:
        size = f"{entry['height']}x{entry['width']}"
        message = f"height x width: expected 1 to {MAX_PIXELS} pixels, got {size}"
        raise _wrong_value(message, entry, ann_file)


def _integer(value: Any, key: str, entry: dict[str, Any], ann_file: Path) -> int | str:
    """The value as an integer; an id may be any text."""
    try:
        if int(value) == float(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        if isinstance(value, str) and key.endswith("id"):
            return value
    raise _wrong_value(f"{key}: expected an integer, got {value!r}", entry, ann_file)


def _wrong_value(message: str, entry: dict[str, Any], ann_file: Path) -> ValueError:
    return ValueError(f"{ann_file}, entry with id {entry.get('id')!r}: {message}")


def id_order(entry: dict[str, Any]) -> tuple[bool, Any]:
    """Sort key of entries: by id, numbers before texts."""
    return isinstance(entry["id"], str), entry["id"]


def instances_by_image(content: dict[str, list[dict]], ann_file: Path) -> dict[int, list[dict]]:
    """Group a file's annotations.

    Args:
        content: returned by `read_annotations`.
        ann_file: named in errors.

    Returns:
        For each image id its annotations in the order of their ids, an empty list for none.

    Raises:
        ValueError: an annotation refers to an image or a category that is not listed.
    """
    categories = {entry["id"] for entry in content["categories"]}
    instances: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for entry in sorted(content["annotations"], key=id_order):
        for key, listed in (("image_id", instances), ("category_id", categories)):
            if entry[key] not in listed:
                raise ValueError(
                    f"annotation {entry['id']} of {ann_file} has {key}={entry[key]}, "
                    "which the file does not list"
                )
        instances[entry["image_id"]].append(entry)
    return instances


def image_path(img_dir: Path, file_name: str, ann_file: Path) -> Path:
    """Return the path of an image, given its name in the annotation file, as `as_spelled`.

    Raises:
        ValueError: the name is absolute, leads out of `img_dir`, or is too long for a file.
    """
    # Both flavours, so that a file made elsewhere cannot slip through on either system.
    flavours = PurePosixPath(file_name), PureWindowsPath(file_name)
    if any(name.anchor or ".." in name.parts for name in flavours) or not flavours[0].parts:
        raise ValueError(
            f"{ann_file} names the image {file_name!r}, which leads out of img_dir; "
            "expected a path relative to it"
        )
    if "\0" in file_name or max(len(part.encode()) for part in flavours[0].parts) > _MAX_NAME_BYTES:
        raise ValueError(f"{ann_file} names an image {file_name[:40]!r}..., which no file can be")
    return as_spelled(img_dir, file_name)


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
