"""Fusion with a saliency map: what stands out, and is no known object, is more anomalous."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ood_seg.refinement.evidence import require_size

# Persons and vehicles among the 19 Cityscapes classes: person, rider, car, truck, bus, train,
# motorcycle, bicycle.
CITYSCAPES_OBJECTS = tuple(range(11, 19))


def raised_by_saliency(
    scores: np.ndarray,
    saliency: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    weight: float,
    known: Sequence[int] = CITYSCAPES_OBJECTS,
    confident: float | None = None,
) -> np.ndarray:
    """Raise the score where something salient is not a known object.

        scores + weight * saliency      outside known objects
        scores                          where the label is one of `known` and the score at most
                                        `confident`

    Args:
        scores: `(H, W)`.
        saliency: `(H, W)`, 0 to 1, such as of U2-Net or IS-Net.
        labels: `(H, W)`, predicted known classes; not needed where `known` is empty.
        weight: units of the score, at least 0.
        known: numbers of the classes that are salient themselves, such as cars.
        confident: score up to which such a label is trusted; None: it always is.

    Returns:
        `(H, W)` float32, nowhere below `scores`.

    Raises:
        ValueError: sizes that differ, a saliency outside 0..1, or no labels.
    """
    require_size(saliency, scores.shape, "saliency")
    low, high = float(saliency.min()), float(saliency.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"saliency: expected values from 0 to 1, got {low:g} to {high:g}")
    gain = np.float32(weight) * saliency.astype(np.float32, copy=False)
    if known:
        if labels is None:
            raise ValueError("saliency: known objects need the predicted labels")
        require_size(labels, scores.shape, "labels")
        explained = np.isin(labels, known)
        if confident is not None:
            explained &= scores <= np.float32(confident)
        gain = np.where(explained, np.float32(0), gain)
    return (scores + gain).astype(np.float32, copy=False)
