"""What is known of an image beside its score map, and checks of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ood_seg.refinement.boxes import Box


@dataclass(frozen=True, eq=False)
class Evidence:
    """The image of a score map, and what other programs found in it.

    Masks, boxes and saliency are needed only by steps that have no source of their own.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        labels: `(H, W)`, the most likely known class, as a number from 0.
        name: of the image, by which the files of a source are found; may contain folders.
        masks: `(H, W)` integers, 0 where there is no object, else its number; or boolean
            `(N, H, W)`, which may overlap.
        boxes: of detected objects.
        saliency: `(H, W)`, from 0 to 1.
    """

    image: np.ndarray | None = None
    labels: np.ndarray | None = None
    name: str = ""
    masks: np.ndarray | None = None
    boxes: Sequence[Box] | None = None
    saliency: np.ndarray | None = None


def require_size(
    values: np.ndarray, size: tuple[int, int], what: str, of: str = "the score map"
) -> None:
    """Raise a ValueError unless an array has the height and width of the score map."""
    if tuple(values.shape[:2]) != tuple(size):
        raise ValueError(
            f"{what}: expected {size[0]}x{size[1]} (height x width), the size of {of}, got "
            f"{'x'.join(map(str, values.shape[:2]))}"
        )


def checked_scores(scores: np.ndarray, what: str = "scores") -> np.ndarray:
    """The score map as float32.

    Raises:
        ValueError: not `(H, W)` of real numbers, or NaN or infinite ones.
    """
    if scores.ndim != 2 or not scores.size or scores.dtype.kind not in "fiu":
        raise ValueError(
            f"{what}: expected a score map (H, W) of real numbers, got shape {scores.shape} of "
            f"{scores.dtype}"
        )
    bad = scores.size - int(np.count_nonzero(np.isfinite(scores)))
    if bad:
        raise ValueError(f"{what}: {bad} of {scores.size} scores are NaN or infinite")
    return scores.astype(np.float32, copy=False)
