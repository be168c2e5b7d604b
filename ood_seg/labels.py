"""Label values that the whole package agrees on, and the masks made from them.

Training labels hold `0..C-1` for known classes, `OUTLIER` for pasted objects and `IGNORE` for
void. Evaluation masks hold `KNOWN`, `ANOMALY` and `IGNORE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

OUTLIER = 254
IGNORE = 255

KNOWN = 0
ANOMALY = 1

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


def split_labels(
    labels: Tensor, *, outlier_index: int = OUTLIER, ignore_index: int = IGNORE
) -> tuple[Tensor, Tensor]:
    """Split training labels into the known and the outlier pixels.

    Args:
        labels: integer labels of any shape.
        outlier_index: value of outlier pixels.
        ignore_index: value of pixels that belong to neither.

    Returns:
        Two boolean tensors shaped like `labels`: known pixels, outlier pixels.
    """
    outlier_mask = labels == outlier_index
    known_mask = ~outlier_mask & (labels != ignore_index)
    return known_mask, outlier_mask


def hide_outliers(
    labels: Tensor, *, outlier_index: int = OUTLIER, ignore_index: int = IGNORE
) -> Tensor:
    """Return a copy of `labels` in which outlier pixels are ignored; the input stays as it is.

    Closed-set losses and metrics know nothing of `outlier_index`, so they get this copy.
    """
    return labels.masked_fill(labels == outlier_index, ignore_index)
