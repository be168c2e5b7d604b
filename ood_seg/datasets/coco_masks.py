"""Masks of COCO annotations: polygons and run lengths, checked before they are rasterised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Coordinates further outside than this many image sides are an error: drawing them takes all
# memory, or crashes pycocotools.
_MAX_SIDES_OUTSIDE = 10


def encode_mask(
    segmentation: Any, height: int, width: int, *, origin: str
) -> dict[str, Any] | None:
    """Bring an annotation's mask into compressed run lengths.

    Run lengths go down the columns, left to right, and alternate between background and object,
    background first.

    Args:
        segmentation: a list of polygons, each `[x0, y0, x1, y1, ...]` or `[[x0, y0], ...]`, or a
            single one; or a dict with `size` `[h, w]` and `counts`, either a list of run lengths
            or COCO's compressed string; or None.
        height: rows of the image.
        width: columns of the image.
        origin: named in errors.

    Returns:
        `{"size": [height, width], "counts": bytes}`, or None if the mask has no pixel.

    Raises:
        ValueError: neither polygons nor run lengths, run lengths that do not fill the image, or
            coordinates that are not numbers or lie far outside of it.
    """
    from pycocotools import mask as run_lengths

    if segmentation is None:
        return None
    if isinstance(segmentation, list):
        # pycocotools takes four numbers for a box, so lines must not reach it.
        polygons = [polygon for polygon in _polygons(segmentation) if len(polygon) >= 6]
        _check_coordinates(polygons, max(height, width), origin)
        if not polygons:
            return None
        encoded = run_lengths.merge(run_lengths.frPyObjects(polygons, height, width))
    elif isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        counts = _checked_counts(segmentation, height, width, origin)
        encoded = run_lengths.frPyObjects(
            {"size": [height, width], "counts": counts}, height, width
        )
    else:
        raise ValueError(f"{origin}: segmentation is neither polygons nor run lengths")
    return encoded if run_lengths.area(encoded) else None


def drawn_mask(segmentation: Any, height: int, width: int, *, origin: str) -> np.ndarray:
    """Draw an annotation's mask; run lengths need no pycocotools.

    Args:
        segmentation, height, width, origin: see `encode_mask`.

    Returns:
        `(height, width)` bool.

    Raises:
        ValueError: see `encode_mask`.
    """
    if isinstance(segmentation, dict) and {"size", "counts"} <= segmentation.keys():
        lengths = _checked_counts(segmentation, height, width, origin)
        return _filled(lengths, height, width)
    encoded = encode_mask(segmentation, height, width, origin=origin)
    if encoded is None:
        return np.zeros((height, width), bool)
    return decode_mask(encoded["counts"], height, width)


def _polygons(segmentation: list) -> list[list]:
    """The polygons as flat lists of coordinates."""
    if segmentation and not isinstance(segmentation[0], list):
        return [segmentation]
    if len(segmentation) > 2 and all(
        isinstance(point, list) and len(point) == 2 and not isinstance(point[0], list)
        for point in segmentation
    ):
        segmentation = [segmentation]
    return [
        [value for point in polygon for value in point]
        if isinstance(polygon, list) and polygon and isinstance(polygon[0], list)
        else polygon
        for polygon in segmentation
    ]


def _check_coordinates(polygons: list[list], side: int, origin: str) -> None:
    limit = _MAX_SIDES_OUTSIDE * side
    for polygon in polygons:
        try:
            # Comparisons with NaN are false, but min and max may pass over it.
            usable = math.isfinite(sum(polygon)) and -limit <= min(polygon) <= max(polygon) <= limit
        except (TypeError, OverflowError):
            usable = False
        if not usable:
            raise ValueError(
                f"{origin}: polygon coordinates must be numbers within {limit} pixels, "
                f"got {str(polygon)[:100]}"
            )


def _checked_counts(segmentation: dict, height: int, width: int, origin: str) -> list[int]:
    size, counts = segmentation["size"], segmentation["counts"]
    if size not in ([height, width], [str(height), str(width)]):
        raise ValueError(
            f"{origin}: run lengths are made for a size of {size}, "
            f"the image has [{height}, {width}] (h, w)"
        )
    if isinstance(counts, str):
        counts = expand_counts(counts)
    # Checked here because pycocotools reads uninitialised memory where runs are missing.
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        got = str(counts)[:100]
    elif sum(counts) != height * width or min(counts) < 0:
        got = f"a sum of {sum(counts)} and a smallest length of {min(counts, default=None)}"
    else:
        return counts
    raise ValueError(
        f"{origin}: run lengths must be integers >= 0 that add up to {height * width} pixels, "
        f"got {got}"
    )


def expand_counts(compressed: str) -> list[int]:
    """Decode COCO's compressed run lengths.

    A number is written in groups of five bits, lowest first, one character of value 48 + group
    each; bit 5 means that more groups follow, bit 4 of the last one is the sign. From the fourth
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
    return _filled(expand_counts(counts.decode()), height, width)


def _filled(lengths: list[int], height: int, width: int) -> np.ndarray:
    is_object = np.arange(len(lengths)) % 2 == 1
    return np.repeat(is_object, lengths).reshape((height, width), order="F")
