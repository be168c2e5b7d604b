"""Decoding and checking of label images: pure functions on bytes and arrays, no mmseg."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from ood_seg.io.image_headers import image_errors
from ood_seg.labels import IGNORE

# Ways to bring a label image to the size of its image.
FITS = ("rescale", "crop")


def decode_label_image(content: bytes, path: object) -> np.ndarray:
    """Decode a label image to its values; of a palette image these are the indices.

    Pillow decodes, since OpenCV turns a palette into colours. The EXIF orientation is not applied.

    Args:
        content: an image file with one channel.
        path: named in errors.

    Returns:
        `(H, W)` uint8.

    Raises:
        ValueError: truncated, not an image, with colour or alpha channels, or values above 255.
    """
    with image_errors(path, "label image"), Image.open(BytesIO(content)) as image:
        mode = image.mode
        raw = np.array(image)
    if raw.ndim != 2 or (mode not in ("1", "L", "P") and not mode.startswith("I")):
        raise ValueError(
            f"label image {path}: expected one channel of class indices, got Pillow mode "
            f"{mode!r} of shape {raw.shape}; this is a visualisation: use the file with indices "
            "(for example *_labelTrainIds.png, not *_color.png) or convert it"
        )
    if raw.size and (raw.min() < 0 or raw.max() > IGNORE):
        raise ValueError(
            f"label image {path}: expected values in 0..255, got {raw.min()}..{raw.max()}; "
            "is it an instance or depth map?"
        )
    return raw.astype(np.uint8, copy=False)


def fit_labels(raw: np.ndarray, shape: tuple[int, int], how: str, *, source: object) -> np.ndarray:
    """Bring labels to the shape of an image that was changed after labelling.

    Args:
        raw: (H, W) uint8.
        shape: height and width of the image.
        how: 'rescale', by nearest neighbour; or 'crop', which keeps the lower right part.
        source: file named in the error.

    Returns:
        uint8 labels of `shape`.

    Raises:
        ValueError: the labels are too small to be cropped.
    """
    height, width = shape
    if how == "rescale":
        return cv2.resize(raw, (width, height), interpolation=cv2.INTER_NEAREST)
    top, left = raw.shape[0] - height, raw.shape[1] - width
    if top < 0 or left < 0:
        raise ValueError(
            f"label image {source}: expected at least the image's size {shape} (height, "
            f"width) to crop it, got {raw.shape}"
        )
    return np.ascontiguousarray(raw[top:, left:])


def label_table(
    label_map: Mapping[int, int], *, always: Iterable[int] = (), reduce_zero: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Build the table that maps raw label values, and the mask of known raw values.

    Args:
        label_map: raw value -> label; keys outside 0..255 never occur in an image and are
            ignored.
        always: values that are known besides the keys and stay as they are.
        reduce_zero: mmseg's `reduce_zero_label`: before the map, 0 becomes 255 and every
            other value but 255 goes down by one.

    Returns:
        Table (256,) uint8 and known (256,) bool, both indexed by the raw value.
    """
    table = np.arange(256, dtype=np.uint8)
    known = np.zeros(256, dtype=bool)
    known[list(always)] = True
    for raw, label in label_map.items():
        if 0 <= raw <= 255:
            table[raw] = label
            known[raw] = True
    if not reduce_zero:
        return table, known
    reduced = np.concatenate(([IGNORE], np.arange(254), [IGNORE]))
    return table[reduced], known[reduced]


def apply_label_table(
    raw: np.ndarray, table: np.ndarray, known: np.ndarray, *, source: object
) -> np.ndarray:
    """Map a raw label image through the table; the input is not changed.

    Args:
        raw: (H, W) uint8.
        table, known: from `label_table`.
        source: file named in the error.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: values that are not known, each with its number of pixels.
    """
    # Counting costs ten times a look-up, so it waits until there is something to name.
    if not cv2.LUT(raw, known.astype(np.uint8)).all():
        problem = unknown_values(np.bincount(raw.ravel(), minlength=256), known)
        raise ValueError(
            f"label image {source}: {problem}; is it of another label numbering, or is the "
            "number of classes or the label map in the config wrong?"
        )
    return cv2.LUT(raw, table)


def unknown_values(counts: np.ndarray, known: np.ndarray) -> str:
    """Describe the values that occur and are not known; empty where there are none.

    Args:
        counts: (256,) pixels of each value.
        known: (256,) bool.
    """
    unknown = np.flatnonzero((counts > 0) & ~known)
    if not len(unknown):
        return ""
    named = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown)
    return f"unknown label values {named}; known are {value_ranges(np.flatnonzero(known))}"


def value_ranges(values: np.ndarray) -> str:
    """Write sorted integers as ranges: 0..18, 255."""
    parts = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(
        str(part[0]) if len(part) == 1 else f"{part[0]}..{part[-1]}" for part in parts if len(part)
    )
