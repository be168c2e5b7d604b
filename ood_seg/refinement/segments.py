"""Segments of the image itself, and slivers between known classes; no other model is needed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ood_seg.refinement.evidence import require_size

# Segments are found in an image reduced to this longer side, which bounds their cost.
LONGER_SIDE = 512


def grid_segments(image: np.ndarray, across: int) -> np.ndarray:
    """Segments by a watershed of the image from a grid of seeds.

    Seeds spread over similar colours until they meet (Meyer's flooding, `cv2.watershed`), so that
    borders of segments lie on edges of the image.

    Args:
        image: `(H, W, 3)` uint8 BGR.
        across: seeds along the longer side.

    Returns:
        `(H, W)` int32 from 0.
    """
    small = _reduced(image)
    height, width = small.shape[:2]
    step = max(max(height, width) / across, 1.0)
    rows, columns = _seeds(height, step), _seeds(width, step)
    markers = np.zeros((height, width), np.int32)
    numbers = np.arange(1, len(rows) * len(columns) + 1, dtype=np.int32)
    markers[np.ix_(rows, columns)] = numbers.reshape(len(rows), len(columns))
    cv2.watershed(small, markers)
    return _enlarged(_without_ridges(markers) - 1, image.shape[:2])


def slic_segments(image: np.ndarray, across: int) -> np.ndarray:
    """SLIC superpixels (Achanta et al., TPAMI 2012) by scikit-image; see `grid_segments`."""
    small = _reduced(image)
    sides = small.shape[:2]
    count = max(1, round(across * across * min(sides) / max(sides)))
    found = _scikit_image().slic(small[..., ::-1], n_segments=count, start_label=0)
    return _enlarged(found.astype(np.int32), image.shape[:2])


def felzenszwalb_segments(image: np.ndarray, scale: float) -> np.ndarray:
    """Segments of Felzenszwalb and Huttenlocher (IJCV 2004) by scikit-image.

    Args:
        image: `(H, W, 3)` uint8 BGR.
        scale: larger for larger segments; their `k`, of an image in 0..1 with a longer side of
            512 pixels.

    Returns:
        `(H, W)` int32 from 0.
    """
    small = _reduced(image)
    found = _scikit_image().felzenszwalb(small[..., ::-1], scale=scale, sigma=0.8, min_size=20)
    return _enlarged(found.astype(np.int32), image.shape[:2])


def without_slivers(scores: np.ndarray, labels: np.ndarray, *, width: int) -> np.ndarray:
    """Lower thin strips of high scores along the borders between known classes.

    A network is unsure where two classes meet, for a few pixels on both sides. There, scores are
    limited to their morphological opening: what is thinner than `width` goes, what is wider stays.

    Args:
        scores: `(H, W)`.
        labels: `(H, W)`, predicted known classes.
        width: of the widest strip that goes, in pixels; also the distance from a border within
            which scores may change.

    Returns:
        `(H, W)` float32, nowhere above `scores`.

    Raises:
        ValueError: sizes that differ.
    """
    require_size(labels, scores.shape, "labels")
    square = np.ones((3, 3), np.uint8)
    values = labels.astype(np.uint16)
    border = (cv2.dilate(values, square) != cv2.erode(values, square)).astype(np.uint8)
    near = cv2.dilate(border, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > 0
    # Of the next larger odd size, so that a strip of `width` pixels does not contain the kernel.
    side = width + 1 + width % 2
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    scores = scores.astype(np.float32, copy=False)
    opened = cv2.morphologyEx(scores, cv2.MORPH_OPEN, kernel)
    return np.where(near, np.minimum(scores, opened), scores)


def _reduced(image: np.ndarray) -> np.ndarray:
    """The image, with a longer side of at most `LONGER_SIDE`."""
    scale = LONGER_SIDE / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image)


def _enlarged(regions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(regions, size[::-1], interpolation=cv2.INTER_NEAREST)


def _seeds(length: int, step: float) -> np.ndarray:
    """Positions of the seeds along a side, in the middle of equal parts."""
    count = max(1, round(length / step))
    return ((np.arange(count) + 0.5) * length / count).astype(int)


def _without_ridges(markers: np.ndarray) -> np.ndarray:
    """The number of a neighbouring segment in place of -1, the ridges and the frame."""
    filled = np.maximum(markers, 0)
    while not filled.all():
        around = cv2.dilate(filled.astype(np.float32), np.ones((3, 3), np.uint8))
        grown = np.where(filled == 0, around.astype(np.int32), filled)
        if np.array_equal(grown, filled):  # an image of which the frame is all
            return np.maximum(filled, 1)
        filled = grown
    return filled


def _scikit_image() -> Any:
    from skimage import segmentation

    return segmentation
