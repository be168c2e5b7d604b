"""Means of a score map in regions."""

from __future__ import annotations

import numpy as np

from ood_seg.refinement.evidence import require_size


def pooled(
    scores: np.ndarray, regions: np.ndarray, *, weight: float = 1.0, keep: int | None = None
) -> np.ndarray:
    """Replace each score by the mean score of its region.

        scores + weight * (mean of the region - scores)

    The averaging of S2M (Zhao et al., CVPR 2024), UGainS (Nekrasov et al., GCPR 2023) and
    Objectomaly (2025) for class-agnostic masks.

    Args:
        scores: `(H, W)`.
        regions: `(H, W)` integers from 0, the number of the region of each pixel.
        weight: of the mean, 0 to 1.
        keep: number of a region whose scores stay; None: there is none.

    Returns:
        `(H, W)` float32.

    Raises:
        ValueError: sizes that differ, or numbers below 0.
    """
    require_size(regions, scores.shape, "regions")
    if regions.min() < 0:
        raise ValueError(f"regions: expected numbers from 0, got {regions.min()}")
    numbers, values = regions.reshape(-1), scores.reshape(-1)
    counts = np.bincount(numbers)
    means = np.bincount(numbers, values.astype(np.float64)) / np.maximum(counts, 1)
    found = means.astype(np.float32)[regions]
    if weight != 1:
        found = scores + np.float32(weight) * (found - scores)
    if keep is not None:
        found = np.where(regions == keep, scores, found)
    return found.astype(np.float32, copy=False)


def layered(masks: np.ndarray) -> np.ndarray:
    """One label map of masks that may overlap: smaller masks lie on larger ones.

    So a part of an object is a region of its own, and the rest of the object another one. Of
    equally large masks, the later one is on top.

    Args:
        masks: boolean `(N, H, W)`; or `(H, W)` integers, 0 for no object, which is renumbered.

    Returns:
        `(H, W)` int32: 0 for no object, else 1, 2, ...

    Raises:
        ValueError: another shape or type, or negative numbers.
    """
    if masks.ndim == 2 and masks.dtype.kind in "iu":
        if masks.size and masks.min() < 0:
            raise ValueError(f"masks: expected numbers from 0 (no object), got {masks.min()}")
        values, numbers = np.unique(masks, return_inverse=True)
        first = int(values[0] != 0)  # without a pixel of no object, numbers start at 1
        return (numbers.reshape(masks.shape) + first).astype(np.int32)
    if masks.ndim != 3 or masks.dtype != bool:
        raise ValueError(
            "masks: expected a label map (H, W) of integers or boolean masks (N, H, W), got shape "
            f"{masks.shape} of {masks.dtype}"
        )
    areas = masks.reshape(len(masks), -1).sum(axis=1)
    regions = np.zeros(masks.shape[1:], np.int32)
    for number, index in enumerate(np.argsort(-areas, kind="stable"), 1):
        regions[masks[index]] = number
    return regions
