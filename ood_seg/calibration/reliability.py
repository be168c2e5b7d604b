"""Deviation of anomaly probabilities from observed frequencies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ood_seg.arrays import as_numpy

BINS = 15


class Reliability(NamedTuple):
    """Values of a reliability diagram; bins without pixels are left out.

    Attributes:
        confidence: mean probability in each bin, `(M,)`.
        frequency: share of anomalous pixels in each bin, `(M,)`.
        weight: share of all pixels in each bin, of sum 1, `(M,)`.
    """

    confidence: np.ndarray
    frequency: np.ndarray
    weight: np.ndarray


def reliability(probabilities: Any, known: Any, anomalous: Any, *, bins: int = BINS) -> Reliability:
    """Compare probabilities with frequencies in `bins` bins of equal width.

    Bin k holds the probabilities p with `k / bins <= p < (k + 1) / bins`, the last also p = 1
    (Guo et al., ICML 2017, but on the probability of the anomaly class, not of the top class).

    Args:
        probabilities: anomaly probabilities, in [0, 1], `(B,)`; these and the counts as arrays,
            tensors or lists.
        known: known pixels at each, `(B,)`.
        anomalous: anomalous pixels at each, `(B,)`.
        bins: at least 1.

    Raises:
        ValueError: no pixels, or a probability outside [0, 1].
    """
    p, known, anomalous = (
        as_numpy(part).astype(np.float64) for part in (probabilities, known, anomalous)
    )
    pixels = known + anomalous
    if not pixels.sum() > 0:
        raise ValueError("reliability needs at least one pixel, got none")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities must lie in [0, 1], got {p.min()} to {p.max()}")
    number = np.minimum((p * bins).astype(np.int64), bins - 1)
    total, positive, mass = (
        np.bincount(number, weights, minlength=bins) for weights in (pixels, anomalous, p * pixels)
    )
    filled = total > 0
    # The mean of probabilities just below 1 may round to above it.
    confidence = np.minimum(mass[filled] / total[filled], 1)
    return Reliability(confidence, positive[filled] / total[filled], total[filled] / total.sum())


def expected_calibration_error(diagram: Reliability) -> float:
    """`sum_k weight_k |frequency_k - confidence_k|`, in [0, 1]."""
    return float(diagram.weight @ np.abs(diagram.frequency - diagram.confidence))
