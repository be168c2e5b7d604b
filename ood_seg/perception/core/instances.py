"""The objects of a mask and their measures; no Python loop over pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np

from ood_seg.perception.core.parts import components, split_components
from ood_seg.perception.core.types import OBJECT, SCENE, Instance


def find_instances(
    mask: np.ndarray,
    scores: np.ndarray,
    probability: np.ndarray | None = None,
    *,
    min_area: int = 1,
    labels: np.ndarray | None = None,
    max_area: float = math.inf,
) -> tuple[Instance, ...]:
    """Return the objects of a mask, highest mean score first.

    They are its 8-connected components, or with labels those of `split_components`. Objects
    of equal mean score are ordered by their boxes, from the top, then from the left. The contour is
    the outer one, through the centres of the border pixels.

    Args:
        mask: `(H, W)`, booleans or numbers; not 0 where a pixel is flagged.
        scores: `(H, W)` anomaly scores.
        probability: `(H, W)` probabilities of an anomaly.
        min_area: objects of fewer pixels are left out.
        labels: `(H, W)`, predicted known classes, by which sprawling components are split.
        max_area: what has more pixels is a scene, not an object.

    Raises:
        ValueError: another shape, or `min_area` below 1.
    """
    mask = np.asarray(mask) != 0
    _check(mask, {"scores": scores, "probability": probability, "labels": labels}, min_area)
    parts = components(mask) if labels is None else split_components(mask, labels)
    stats = parts.stats
    large = stats[:, cv2.CC_STAT_AREA] >= min_area
    large[0] = False  # the background
    numbers = np.flatnonzero(large)
    if not numbers.size:
        return ()
    rank = np.full(len(stats), -1, np.int32)
    rank[numbers] = np.arange(numbers.size)
    ranks = rank[parts.numbers]
    pixels = np.flatnonzero(ranks.reshape(-1) >= 0)
    groups = ranks.reshape(-1)[pixels]
    means = _means(groups, scores, pixels)
    maxima = _maxima(groups, scores.reshape(-1)[pixels].astype(np.float64))
    probabilities = None if probability is None else _means(groups, probability, pixels)
    boxes, areas = stats[numbers, :4], stats[numbers, cv2.CC_STAT_AREA]
    contours = _contours(ranks, numbers.size)
    for number in np.flatnonzero(
        parts.divided[numbers]
    ).tolist():  # its pixels may touch other ranks
        contours[number] = _own_contour(ranks, number, boxes[number])
    order = np.lexsort((boxes[:, 0], boxes[:, 1], -means))
    return tuple(
        Instance(
            box=tuple(boxes[k].tolist()),
            area=int(areas[k]),
            mean_score=float(means[k]),
            max_score=float(maxima[k]),
            probability=None if probabilities is None else float(probabilities[k]),
            contour=contours[k],
            kind=SCENE if areas[k] > max_area else OBJECT,
        )
        for k in order
    )


def _means(groups: np.ndarray, values: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    sums = np.bincount(groups, values.reshape(-1)[pixels].astype(np.float64))
    return sums / np.bincount(groups)


def _maxima(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    # In each row the pixels of a component form runs, of which there are far fewer than pixels.
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    peaks, owners = np.maximum.reduceat(values, starts), groups[starts]
    order = np.argsort(owners, kind="stable")
    firsts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    return np.maximum.reduceat(peaks[order], firsts)


def _contours(ranks: np.ndarray, count: int) -> list[np.ndarray]:
    """The outer contour of each component, `(K, 2)` int32."""
    # Two levels, not only the outermost: a component may lie in a hole of another one.
    found, hierarchy = cv2.findContours(
        (ranks >= 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )[-2:]
    parents = np.asarray(hierarchy).reshape(-1, 4)[:, 3]
    contours: list[np.ndarray] = [np.empty((0, 2), np.int32)] * count
    for contour, parent in zip(found, parents, strict=True):
        if parent < 0:
            points = np.asarray(contour, np.int32).reshape(-1, 2)
            contours[ranks[points[0, 1], points[0, 0]]] = points
    return contours


def _own_contour(ranks: np.ndarray, number: int, box: np.ndarray) -> np.ndarray:
    """The longest outer contour of an object that touches others, `(K, 2)` int32."""
    left, top, width, height = box.tolist()
    own = ranks[top : top + height, left : left + width] == number
    found = cv2.findContours(own.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
    return max(found, key=len).reshape(-1, 2).astype(np.int32) + np.array([left, top], np.int32)


def _check(mask: np.ndarray, maps: dict[str, np.ndarray | None], min_area: int) -> None:
    if mask.ndim != 2:
        raise ValueError(f"mask: expected (H, W), got shape {mask.shape}")
    for name, values in maps.items():
        if values is not None and values.shape != mask.shape:
            raise ValueError(
                f"{name}: expected the shape of the mask {mask.shape}, got {values.shape}"
            )
    if min_area < 1:
        raise ValueError(f"min_area, in pixels, must be at least 1; got {min_area}")
