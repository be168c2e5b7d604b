"""The object filter: boxes of known classes take score away, boxes of unknown objects keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A detected object.

    Attributes:
        left, top, width, height: in pixels; the part outside the image is ignored.
        known: whether the object is of a known class.
        confidence: of the detector, 0 to 1.
    """

    left: float
    top: float
    width: float
    height: float
    known: bool
    confidence: float = 1.0


def lowered_in_known_boxes(
    scores: np.ndarray, boxes: Iterable[Box], *, weight: float, outside: float = 0.0
) -> np.ndarray:
    """Take score away from pixels that a detector explains.

        scores - weight * confidence of the surest known box that contains the pixel
        scores                                               in a box of an unknown object
        scores - outside                                     in no box

    The filter of DetSeg, as a subtraction, so that the ranks inside a box stay.

    Args:
        scores: `(H, W)`.
        boxes: of detected objects, known and unknown.
        weight: units of the score, at least 0.
        outside: units of the score, at least 0; above 0 only what a detector found stays high.

    Returns:
        `(H, W)` float32, nowhere above `scores`.
    """
    known = np.zeros(scores.shape, np.float32)
    unknown = np.zeros(scores.shape, bool)
    covered = np.zeros(scores.shape, bool)
    for box in boxes:
        place = _pixels(box)
        covered[place] = True
        if box.known:
            known[place] = np.maximum(known[place], np.float32(box.confidence))
        else:
            unknown[place] = True
    loss = np.where(covered, np.float32(weight) * known, np.float32(outside))
    loss[unknown] = 0
    return (scores - loss).astype(np.float32, copy=False)


def _pixels(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the pixels whose centres a box contains."""

    def inside(start: float, length: float) -> slice:
        first, last = np.rint(start), np.rint(start + length)
        return slice(max(0, int(first)), max(0, int(last)))

    return inside(box.top, box.height), inside(box.left, box.width)
