"""Label values used throughout the package, and masks derived from them.

Training labels hold `0..C-1` for known classes, `OUTLIER` for pasted objects and `IGNORE` for
ignored pixels. Evaluation masks hold `KNOWN`, `ANOMALY` and `IGNORE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

OUTLIER = 254
IGNORE = 255

KNOWN = 0
ANOMALY = 1

# Pixels of the smallest flagged component that is an object or a false alarm, by default.
MIN_AREA = 50

MAX_CLASSES = 65535  # of labels of 16 bits

CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)


def label_type(num_classes: int) -> str:
    """Name of the type of predicted labels: `uint8` up to 254 classes, else `uint16`.

    In either type no class has the highest value, which stands for unlabelled pixels, and in 8
    bits none has `OUTLIER` or `IGNORE`.

    Raises:
        ValueError: no classes, or more than 65535.
    """
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ValueError(f"labels: expected 1..{MAX_CLASSES} classes, got {num_classes}")
    return "uint8" if num_classes <= OUTLIER else "uint16"


def unlabelled(num_classes: int) -> int:
    """The highest value of `label_type`, which no predicted pixel has: 255 or 65535."""
    return 255 if label_type(num_classes) == "uint8" else 65535


def require_distinct_labels(
    num_classes: int, *, outlier_index: int = OUTLIER, ignore_index: int = IGNORE
) -> None:
    """Raise where a class would have the label of outlier or of ignored pixels.

    Raises:
        ValueError: one of the two is below the number of classes.
    """
    for name, value in (("outlier_index", outlier_index), ("ignore_index", ignore_index)):
        if 0 <= value < num_classes:
            raise ValueError(
                f"{num_classes} classes: class {value} has the label of {name}={value}; training "
                f"and evaluation on labels support up to {OUTLIER} classes (prediction and export "
                "any number)"
            )


def split_labels(
    labels: Tensor, *, outlier_index: int = OUTLIER, ignore_index: int = IGNORE
) -> tuple[Tensor, Tensor]:
    """Masks of the known and of the outlier pixels of training labels.

    Args:
        labels: integer labels of any shape.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels, which are in neither mask.

    Returns:
        Two boolean tensors shaped like `labels`: known pixels, outlier pixels.
    """
    outlier_mask = labels == outlier_index
    known_mask = ~outlier_mask & (labels != ignore_index)
    return known_mask, outlier_mask


def hide_outliers(
    labels: Tensor, *, outlier_index: int = OUTLIER, ignore_index: int = IGNORE
) -> Tensor:
    """A copy of `labels` in which outlier pixels are ignored pixels.

    Closed-set losses and metrics do not know `outlier_index`, so they take this copy.

    Args:
        labels: integer labels of any shape.
        outlier_index: label of outlier pixels.
        ignore_index: label that replaces it.

    Returns:
        Labels shaped like the input, which is not modified.
    """
    return labels.masked_fill(labels == outlier_index, ignore_index)


def hide_ignored(labels: Tensor, ignore_index: int) -> Tensor:
    """A copy of `labels` in which what a decode head ignores is `IGNORE`.

    mmseg lets each decode head name one label that its losses ignore. Everything here that reads
    training labels for a model takes this copy, so that such pixels are ignored everywhere.

    Args:
        labels: integer labels of any shape.
        ignore_index: the decode head's.

    Returns:
        Labels shaped like the input, which is not modified.
    """
    return labels.masked_fill(labels == ignore_index, IGNORE)
