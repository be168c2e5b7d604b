"""Float32 scores as integers in the same order, so that counters need no range.

The bits of a float32 above zero, read as an integer, grow with the value; those below zero
shrink. Flipping the sign bit of the former and all bits of the latter puts both in one order.
The top bits of such a key are a bin number: its width follows the size of the score, a constant
share of it, and every finite score has a bin.
"""

from __future__ import annotations

import numpy as np

KEY_BITS = 32

_SIGN = np.uint32(1 << 31)
_LARGEST = np.finfo(np.float32).max


def score_keys(scores: np.ndarray) -> np.ndarray:
    """Keys that compare as the scores do; -0.0 has the key of 0.0.

    Float64 scores are rounded to the nearest float32 first, those beyond its range to its largest
    values. That never swaps two scores, but may tie scores that differ by less than 1e-7 of their
    size.

    Args:
        scores: finite scores, float32 or float64, any shape. NaN has no place in an order: refuse
            it before (`ood_seg.metrics.checks`).

    Returns:
        uint32 array of the same shape; a new one, the scores are not changed.
    """
    if scores.dtype != np.float32:
        scores = np.clip(scores, -_LARGEST, _LARGEST).astype(np.float32)
    keys = (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0
    flips = (keys.view(np.int32) >> (KEY_BITS - 1)).view(np.uint32)  # all ones below zero
    flips |= _SIGN
    keys ^= flips
    return keys


def key_scores(keys: np.ndarray) -> np.ndarray:
    """The float32 score of each uint32 key; `key_scores(score_keys(s))` is `s`."""
    keys = np.asarray(keys, np.uint32)
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)
