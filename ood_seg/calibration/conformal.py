"""Thresholds with a guarantee for new images: conformal risk control.

The exchangeable units are images, since pixels of one image resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ood_seg.metrics.histogram import ScoreHistogram


def conformal_fpr(histograms: Sequence[ScoreHistogram], target: float) -> tuple[float, str]:
    """Lowest threshold whose expected per-image false-positive rate is at most `target`.

    Conformal risk control (Angelopoulos et al., ICLR 2024, theorem 1): with the rate `L_i(t)` of
    image i, which never rises with t and is at most 1, the lowest t with
    `(sum_i L_i(t) + 1) / (n + 1) <= target` has `E[L_new(t)] <= target` for a new image that is
    exchangeable with the n given ones. The expectation is over the draw of all n + 1 images; a
    single image may exceed the target, and so may the mean over new images with one fixed t.

    Args:
        histograms: one per image, not used for training; those without known pixels are left out.
        target: between 0 and 1.

    Returns:
        The threshold and the guarantee in words.

    Raises:
        ValueError: fewer than `1 / target - 1` images.
    """
    images = [part for part in histograms if part.num_known]
    _check_number(images, target, "fpr", "known")
    merged = ScoreHistogram.merged(images)
    rate = _summed_shares(merged, [(part.lowest, part.known) for part in images])
    summed = np.concatenate([[0.0], np.cumsum(rate[::-1])])
    chosen = np.flatnonzero((summed + 1) / (len(images) + 1) <= target)[-1]
    text = (
        f"the expected share of known pixels flagged in a new image is at most {target:.4g}, "
        f"{_terms(len(images))}"
    )
    return float(bin_thresholds(merged)[chosen]), text


def conformal_tpr(histograms: Sequence[ScoreHistogram], target: float) -> tuple[float, str]:
    """Highest threshold whose expected per-image true-positive rate is at least `target`.

    As `conformal_fpr`, for the share of an image's anomalous pixels that is missed, which never
    falls with the threshold; of images with anomalous pixels, for a new image that has some.
    """
    images = [part for part in histograms if part.num_anomalous]
    miss = miss_rate(target)
    _check_number(images, miss, "tpr", "anomalous")
    merged = ScoreHistogram.merged(images)
    rate = _summed_shares(merged, [(part.lowest, part.anomalous) for part in images])
    missed = np.concatenate([[0.0], np.cumsum(rate)[:-1]])
    chosen = np.flatnonzero((missed + 1) / (len(images) + 1) <= miss)[-1]
    text = (
        "the expected share of anomalous pixels flagged in a new image with anomalies is at "
        f"least {target:.4g}, {_terms(len(images))}"
    )
    return float(merged.lowest[chosen]), text


def bin_thresholds(merged: ScoreHistogram) -> np.ndarray:
    """Thresholds, descending: above all scores (also in float32), then the lowest of each bin."""
    above = np.nextafter(merged.highest[-1:].astype(np.float32), np.float32(np.inf))
    return np.concatenate([above, merged.lowest[::-1]])


def _summed_shares(
    merged: ScoreHistogram, images: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Shares of each image's pixels, summed over the images, in each bin of `merged`.

    Args:
        merged: all images.
        images: scores and counts of each, the counts of one class alone.
    """
    total = np.zeros(merged.lowest.size)
    for scores, counts in images:
        bins = np.searchsorted(merged.lowest, scores, side="right") - 1
        total += np.bincount(bins, counts / counts.sum(), total.size)
    return total


def images_needed(risk: float) -> int:
    """Smallest number n of images with `1 / (n + 1) <= risk`; 0 for a risk of 0."""
    return math.ceil(round(1 / risk - 1, 9)) if risk > 0 else 0


def miss_rate(tpr: float) -> float:
    """`1 - tpr`, of which 1 - 0.9 would be a little less than 0.1."""
    return round(1 - tpr, 12)


def _check_number(images: Sequence[ScoreHistogram], risk: float, kind: str, pixels: str) -> None:
    if not 0 < risk < 1:
        raise ValueError(
            f"a conformal {kind} needs a target between 0 % and 100 %, both excluded: no finite "
            "number of images can guarantee an expectation of 0"
        )
    if len(images) < images_needed(risk):
        raise ValueError(
            f"{len(images)} images with {pixels} pixels cannot guarantee this {kind}: it takes at "
            f"least {images_needed(risk)}; give more images or a laxer target"
        )


def _terms(count: int) -> str:
    return (
        f"if it is exchangeable with the {count} calibration images (conformal risk control; an "
        "expectation over the draw of these and the new image, no bound for each image)"
    )
