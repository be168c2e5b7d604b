"""Flagged pixels in parts: sprawling components are split where the predicted classes change."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

# A component is one object if its box is small or its convex hull well filled. Measured on Road
# Anomaly, see docs/inference.md.
LARGE_BOX = 0.05  # of the image
SOLID = 0.5  # flagged share of the convex hull
SMALLEST_PART = 0.05  # of the component; smaller parts belong to their neighbours
_CLASS_FILTER = 5  # pixels of a median that removes single wrong labels
_LONGER_SIDE = 512  # of a component while it is divided, which bounds the cost


class Parts(NamedTuple):
    """A mask in parts.

    Attributes:
        numbers: `(H, W)` int32: 0 where nothing is flagged, else the number of the part, from 1.
        stats: `(N, 5)`, left, top, width, height and area of each part, after the background.
        divided: `(N,)`, whether a part may touch another one.
    """

    numbers: np.ndarray
    stats: np.ndarray
    divided: np.ndarray


def components(mask: np.ndarray) -> Parts:
    """The 8-connected components of a mask `(H, W)` of booleans."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    return Parts(numbers, stats, np.zeros(count, bool))


def split_components(mask: np.ndarray, labels: np.ndarray) -> Parts:
    """The components of a mask, large sprawling ones in parts.

    A large component whose convex hull is mostly empty is rarely one object: a line of flagged
    pixels connects animals, or an object with a wall behind it. It is divided by the predicted
    known class, so that parts are what the network takes for different things. Each of its pixels
    belongs to the nearest part of at least 5 % of the component.

    Args:
        mask: boolean `(H, W)`.
        labels: `(H, W)`, predicted known classes.
    """
    numbers, stats, divided = components(mask)
    large = stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT] >= LARGE_BOX * mask.size
    large[0] = False  # the background
    rows, count = [stats], len(stats)
    for number in np.flatnonzero(large):
        left, top, width, height, area = stats[number].tolist()
        place = np.s_[top : top + height, left : left + width]
        own = numbers[place] == number
        if area >= SOLID * _hull_area(own):
            continue
        found, parts = _by_class(own, labels[place], SMALLEST_PART)
        if parts < 2:
            continue
        # The first part keeps the number of the component.
        renumbered = np.array([0, number, *range(count, count + parts - 1)], np.int32)
        numbers[place][own] = renumbered[found[own]]
        found[~own] = 0
        new = np.array([_stats(found == part, left, top) for part in range(1, parts + 1)])
        stats[number], divided[number] = new[0], True
        rows.append(new[1:])
        count += parts - 1
    added = np.ones(count - len(stats), bool)
    return Parts(numbers, np.concatenate(rows), np.concatenate([divided, added]))


def _stats(mask: np.ndarray, left: int, top: int) -> tuple[int, ...]:
    """Box and area of a part; `left` and `top` are those of its mask in the image."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left + x, top + y, width, height, int(np.count_nonzero(mask))


def _hull_area(mask: np.ndarray) -> int:
    """Pixels of the convex hull of a mask."""
    contours = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
    hull = cv2.convexHull(np.concatenate([np.asarray(one, np.int32) for one in contours]))
    return int(np.count_nonzero(cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), hull, 1)))


def _by_class(mask: np.ndarray, labels: np.ndarray, share: float) -> tuple[np.ndarray, int]:
    """Parts of one class of at least this share of a mask, grown over all of it; their number."""
    size = mask.shape
    step = -(-max(size) // _LONGER_SIDE)
    mask, labels = mask[::step, ::step], labels[::step, ::step]
    smallest = max(1.0, share * np.count_nonzero(mask))
    smooth = cv2.medianBlur(labels.astype(np.uint8), _CLASS_FILTER)  # classes modulo 256
    seeds, count = np.zeros(mask.shape, np.int32), 0
    for label in np.flatnonzero(np.bincount(smooth[mask], minlength=256) >= smallest):
        same = (mask & (smooth == label)).view(np.uint8)
        number, parts, stats, _ = cv2.connectedComponentsWithStats(same, connectivity=8)
        kept = stats[:, cv2.CC_STAT_AREA] >= smallest
        kept[0] = False
        numbers = np.zeros(number, np.int32)
        numbers[kept] = np.arange(count + 1, count + 1 + np.count_nonzero(kept))
        seeds += numbers[parts]
        count += int(np.count_nonzero(kept))
    if count < 2:
        return seeds, count
    nearest = cv2.distanceTransformWithLabels(
        (seeds == 0).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    of_seed = np.zeros(int(nearest.max()) + 1, np.int32)
    of_seed[nearest[seeds > 0]] = seeds[seeds > 0]
    grown = of_seed[nearest]
    if step > 1:
        grown = grown.repeat(step, axis=0)[: size[0]].repeat(step, axis=1)[:, : size[1]]
    return grown, count
