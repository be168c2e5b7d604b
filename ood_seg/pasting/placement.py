"""Where an object stands in a scene, and how large it looks there."""

from __future__ import annotations

import cv2
import numpy as np


def standing_position(
    ground: np.ndarray, mask: np.ndarray, rng: np.random.Generator, *, row: int | None = None
) -> tuple[int, int] | None:
    """Draw a position where an object stands on the ground and lies fully inside the scene.

    It stands where all pixels from the first to the last one of its lowest row are ground. All
    such positions are equally likely.

    Args:
        ground: `(H, W)` bool, true where an object may stand.
        mask: `(h, w)` bool with at least one true pixel.
        rng: random generator; one number is drawn if there is a position.
        row: row of the scene on which the lowest row of the object shall be, or as near to it as
            the object fits; None for any.

    Returns:
        `(top, left)` of the object's box; None where the object does not fit.
    """
    height, width = mask.shape
    lowest = int(np.flatnonzero(mask.any(axis=1))[-1])
    base = np.flatnonzero(mask[lowest])
    first, length = int(base[0]), int(base[-1] - base[0]) + 1
    tops, lefts = ground.shape[0] - height + 1, ground.shape[1] - width + 1
    if tops < 1 or lefts < 1:
        return None
    top = 0
    if row is not None:
        top, tops = min(max(row - lowest, 0), tops - 1), 1
    rows = ground[top + lowest : top + lowest + tops].astype(np.uint8)
    # True where the pixels from here to `length` further right are all ground.
    runs = cv2.erode(
        rows,
        np.ones((1, length), np.uint8),
        anchor=(0, 0),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    places = np.flatnonzero(runs[:, first : first + lefts])
    if not len(places):
        return None
    down, left = divmod(int(places[rng.integers(len(places))]), lefts)
    return top + down, left


def random_ground_row(ground: np.ndarray, rng: np.random.Generator) -> int | None:
    """Draw the row of a ground pixel, all pixels equally likely; None where there is no ground.

    Args:
        ground: `(H, W)` bool.
        rng: random generator; one number is drawn if there is ground.
    """
    pixels = np.flatnonzero(ground)
    if not len(pixels):
        return None
    return int(pixels[rng.integers(len(pixels))]) // ground.shape[1]


def distance_factor(ground: np.ndarray, row: int) -> float:
    """Return how large an object that stands on a row looks, relative to the lowest row.

    On flat ground seen by an upright camera, size is proportional to the distance from the
    horizon, which is taken to be just above the highest row with ground.

    Args:
        ground: `(H, W)` bool with at least one true pixel.
        row: of the ground.

    Returns:
        Above 0, and 1 on the lowest row of the scene.
    """
    horizon = int(np.flatnonzero(ground.any(axis=1))[0]) - 1
    return max(row - horizon, 1) / (ground.shape[0] - 1 - horizon)
