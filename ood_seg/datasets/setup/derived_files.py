"""Files that are made from published ones: trainIds, composed overlays, COCO outlier lists."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ood_seg.datasets.coco_files import instances_by_image, read_annotations
from ood_seg.datasets.coco_rules import checked_categories, image_drop_reason
from ood_seg.datasets.label_images import (
    apply_label_table,
    decode_label_image,
    label_table,
)
from ood_seg.datasets.label_maps import CITYSCAPES_IDS_TO_TRAIN_IDS
from ood_seg.io.images import decode_image

_OVERLAY_BYTES = 8


def train_ids_picture(content: bytes, source: object) -> bytes:
    """Turn a Cityscapes `*_labelIds.png` into its trainIds (0..18, 255), again as PNG.

    Raises:
        ValueError: no label picture, or values that are no Cityscapes id.
    """
    raw = decode_label_image(content, source)
    table, known = label_table(CITYSCAPES_IDS_TO_TRAIN_IDS)
    return _as_png(apply_label_table(raw, table, known, source=source))


def composed_picture(overlay: bytes, image: bytes, source: object, below: object) -> bytes:
    """Add a Fishyscapes Static overlay to its Cityscapes image, clipped to 0..255, as PNG.

    Args:
        overlay: an npz archive with `rgb` (H, W, 3), the signed difference to the image.
        image: the picture below it.
        source: name of the overlay in errors.
        below: name of the image in errors.

    Raises:
        ValueError: no whole npz or picture, no `rgb`, pickled content, another shape than the
            image, or values that are no finite numbers.
    """
    base = decode_image(image, below)[..., ::-1].astype(np.int64)
    difference = _read_overlay(overlay, base.shape, source)
    return _as_png(np.clip(base + difference, 0, 255).astype(np.uint8))


def _read_overlay(content: bytes, shape: tuple[int, int, int], source: object) -> np.ndarray:
    expected = f"overlay {source}: expected an npz archive with one array 'rgb' of shape {shape}"
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            # Asked before it is unpacked: a few bytes can declare any number of them.
            declared = arrays.zip.getinfo("rgb.npy").file_size
            if declared > np.prod(shape) * _OVERLAY_BYTES + 4096:
                raise ValueError(f"it declares {declared} bytes")
            values = arrays["rgb"]
    except (ValueError, KeyError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{expected}; got something else: {error}") from error
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{expected} and finite numbers; got {values.dtype} {values.shape}")
    return values.astype(np.int64)


def _as_png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def outlier_list(
    ann_file: Path, *, exclude: tuple[str, ...], whole_images: bool, min_image_size: int | None
) -> tuple[bytes, str]:
    """Shorten COCO's annotations to what can be pasted; `CocoObjects` reads the result as it is.

    Args:
        ann_file: `instances_train2017.json`.
        exclude: categories that are no outliers.
        whole_images: drop images that hold one of them (PEBAL), not the instances alone.
        min_image_size: least height and width of an image.

    Returns:
        The JSON of a shorter instance file, and one sentence on what it holds.

    Raises:
        ValueError: see `read_annotations` and `instances_by_image`.
    """
    content = read_annotations(ann_file)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    checked_categories(
        "exclude", exclude, tuple(names.values()), default=exclude, ann_file=ann_file
    )
    forbidden = frozenset(exclude)
    images, annotations = [], []
    by_image = instances_by_image(content, ann_file)
    for image in content["images"]:
        entries = by_image[image["id"]]
        reason = image_drop_reason(
            image,
            {names[entry["category_id"]] for entry in entries},
            min_image_size=min_image_size,
            exclude_images_with=forbidden if whole_images else frozenset(),
        )
        kept = [entry for entry in entries if names[entry["category_id"]] not in forbidden]
        if reason is None and kept:
            images.append(image)
            annotations += kept
    short = {"images": images, "annotations": annotations, "categories": content["categories"]}
    sentence = (
        f"{len(images)} of {len(content['images'])} images and {len(annotations)} of "
        f"{len(content['annotations'])} instances can be pasted"
    )
    return json.dumps(short).encode(), sentence
