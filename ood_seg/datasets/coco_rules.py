"""Which COCO categories and images give outlier objects: rules on names and sizes only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

from ood_seg.spelling import close_matches

# Everything in COCO that Cityscapes labels as a class of its own.
CITYSCAPES_LIKE_CATEGORIES = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "bus",
    "train",
    "truck",
    "traffic light",
    "stop sign",
)
# PEBAL and Meta-OoD leave out "train" here, and so paste trains as outliers.
PEBAL_EXCLUDED_CATEGORIES = tuple(n for n in CITYSCAPES_LIKE_CATEGORIES if n != "train")
PEBAL_MIN_IMAGE_SIZE = 480


def checked_categories(
    argument: str,
    names: Iterable[str],
    known: Sequence[str],
    *,
    default: tuple[str, ...],
    ann_file: Path,
) -> frozenset[str]:
    """Check that category names are spelled as in the file.

    Args:
        argument: name of the argument, for errors.
        names: the names.
        known: the file's categories.
        default: a list that may name categories that the file does not have, unless the file
            holds them under a longer name, such as LVIS's `car_(automobile)` for `car`.
        ann_file: named in errors.

    Returns:
        The names as a set.

    Raises:
        ValueError: an unknown name, with those of the file that are close to it.
    """
    if isinstance(names, str):
        raise ValueError(f"{argument} must be a list of category names, got {names!r}")
    names = tuple(names)
    is_default = names == default
    for name in names:
        close = _lookalikes(name, known) if is_default else close_matches(name, known)
        if name in known or (is_default and not close):
            continue
        hint = f"close to it: {close}" if close else f"it has: {list(known)}"
        raise ValueError(
            f"{argument} names the category {name!r}, which {ann_file} does not have "
            f"({hint}); give `{argument}` in the file's own spelling"
        )
    return frozenset(names)


def _lookalikes(name: str, known: Sequence[str]) -> list[str]:
    pattern = re.compile(rf"(?<![a-z]){re.escape(name)}(?![a-z])", re.IGNORECASE)
    return [entry for entry in known if pattern.search(entry.replace("_", " "))]


def image_drop_reason(
    image: dict[str, Any],
    categories: Set[str],
    *,
    min_image_size: int | None,
    exclude_images_with: Set[str],
) -> str | None:
    """Return why a whole image gives no outlier objects, or None.

    Args:
        image: entry of `images`.
        categories: names of the categories in it.
        min_image_size: smallest height and width, or None for any.
        exclude_images_with: categories that no image may hold.
    """
    if min_image_size and min(image["height"], image["width"]) < min_image_size:
        return f"image below min_image_size={min_image_size}"
    if categories & exclude_images_with:
        return "image with an excluded category"
    return None
