"""Overlays and heat maps: pure functions on arrays, with NumPy and OpenCV.

Images are RGB `(H, W, 3)` uint8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from ood_seg.labels import ANOMALY, IGNORE, KNOWN, OUTLIER

# Its lightness rises steadily, so that a print without colour keeps the order of the scores.
# OpenCV and matplotlib have the same table.
COLOUR_MAP = "inferno"
# They differ in lightness too, for colour-blind readers and for print.
DECISION_COLOURS = {
    "found": (86, 180, 233),
    "missed": (213, 94, 0),
    "false alarm": (240, 228, 66),
}
# Scores that are not finite: a grey-blue that the colour map does not contain.
_UNDEFINED = (110, 130, 150)
_ANOMALY_COLOUR = (255, 80, 0)
_VOID_COLOUR = (0, 0, 0)
_ROBUST_PERCENTILES = (1.0, 99.0)


def label_overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], alpha: float = 0.5
) -> np.ndarray:
    """Blend the colours of labels over an image, fast enough for video.

    Args:
        image: `(H, W, 3)` uint8.
        labels: `(H, W)` integers. Values without a colour (254 and 255 with up to 254 classes)
            leave the image unchanged.
        palette: one colour for each class, channels ordered as in the image.
        alpha: weight of the colour, 0 (image alone) to 1 (colour alone).

    Returns:
        `(H, W, 3)` uint8, rounded to nearest; the inputs are unchanged.

    Raises:
        ValueError: shapes that do not fit, or alpha outside 0..1.
    """
    _check_image(image)
    check_same_size("labels", labels, image)
    count = len(palette)
    colours = np.asarray(palette, np.uint8).reshape(-1, 3)
    inside = (labels >= 0) & (labels < count)
    if count <= OUTLIER:
        # Four times faster than NumPy's indexing, but for 8 bits only.
        table = np.zeros((256, 3), np.uint8)
        table[:count] = colours
        if labels.dtype != np.uint8:
            labels = np.where(inside, labels, IGNORE).astype(np.uint8)
        layer = cv2.LUT(cv2.cvtColor(labels, cv2.COLOR_GRAY2BGR), table[None])
    else:
        layer = colours[np.where(inside, labels, 0)]
    blended = blend(image, layer, alpha)
    return cv2.copyTo(image, (~inside).astype(np.uint8), blended)


def blend(image: np.ndarray, layer: np.ndarray, alpha: float) -> np.ndarray:
    """Return `(1 - alpha) image + alpha layer`, rounded to nearest; both `(H, W, 3)` uint8.

    Raises:
        ValueError: alpha outside 0..1.
    """
    check_alpha(alpha)
    return cv2.addWeighted(image, 1.0 - alpha, layer, alpha, 0.0)


def check_alpha(alpha: float) -> None:
    """Raise a ValueError for a weight outside 0..1."""
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected 0..1, got {alpha}")


def ground_truth_overlay(image: np.ndarray, mask: np.ndarray, alpha: float = 0.7) -> np.ndarray:
    """Show an evaluation mask (0 known, 1 anomaly, 255 ignore) on its image.

    Anomalies are orange, ignored pixels dark, known ones unchanged.
    """
    kinds = np.full(mask.shape, IGNORE, np.uint8)
    kinds[mask == ANOMALY] = 0
    kinds[mask == IGNORE] = 1
    return label_overlay(image, kinds, (_ANOMALY_COLOUR, _VOID_COLOUR), alpha)


def decision_overlay(image: np.ndarray, mask: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Show found and missed anomalous pixels and false alarms on the image in grey.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)`: 0 known, 1 anomaly, 255 ignore. Ignored pixels are dark.
        flagged: `(H, W)` boolean.

    Returns:
        `(H, W, 3)` uint8, in `DECISION_COLOURS`.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    dimmed = (grey * 0.6 + 50).astype(np.uint8)
    dimmed[mask == IGNORE] //= 3
    kinds = np.full(mask.shape, IGNORE, np.uint8)
    kinds[(mask == ANOMALY) & flagged] = 0
    kinds[(mask == ANOMALY) & ~flagged] = 1
    kinds[(mask == KNOWN) & flagged] = 2
    return label_overlay(dimmed, kinds, tuple(DECISION_COLOURS.values()), 0.85)


def score_range(scores: np.ndarray | Iterable[np.ndarray]) -> tuple[float, float]:
    """Return a display range for score maps: their 1st and 99th percentile.

    Scores are unbounded and often negative, so a fixed range such as 0..1 would paint most maps
    in one colour; the percentiles keep single extreme pixels from doing the same.

    Args:
        scores: one map, or several that shall share a range. Non-finite values are left out.

    Returns:
        `(low, high)` with `low < high`, also for constant and for empty maps.
    """
    maps = [scores] if isinstance(scores, np.ndarray) else list(scores)
    values = np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one in maps])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, _ROBUST_PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        margin = max(abs(low), 1.0) * 0.5
        return low - margin, high + margin
    return low, high


def heat_map(
    scores: np.ndarray, vmin: float | None = None, vmax: float | None = None
) -> np.ndarray:
    """Colour a score map; dark is normal, bright is anomalous.

    Args:
        scores: `(H, W)`. Pixels that are not finite become grey-blue.
        vmin, vmax: scores shown darkest and brightest; by default from `score_range`.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ValueError: not a map, or an empty range.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise ValueError(f"scores: expected (H, W), got shape {scores.shape}")
    low, high = completed_range(scores, vmin, vmax)
    scores = scores.astype(np.result_type(scores, np.float32), copy=False)
    undefined = ~np.isfinite(scores)
    if undefined.any():
        scores = np.where(undefined, low, scores)
    unit = np.clip((scores - low) / (high - low), 0.0, 1.0)
    levels = np.rint(unit * 255).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    if undefined.any():
        coloured[undefined] = _UNDEFINED
    return coloured


def completed_range(
    scores: np.ndarray, vmin: float | None, vmax: float | None
) -> tuple[float, float]:
    """The given range, completed by `score_range`; raises for an empty one."""
    if vmin is None or vmax is None:
        low, high = score_range(scores)
        vmin, vmax = low if vmin is None else vmin, high if vmax is None else vmax
    low, high = float(vmin), float(vmax)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"score range: expected finite low < high, got {low} and {high}")
    return low, high


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image: expected (H, W, 3) uint8, got shape {image.shape} of {image.dtype}"
        )


def check_same_size(name: str, values: np.ndarray, image: np.ndarray) -> None:
    """Raise ValueError unless a map has the size of the image."""
    if values.shape != image.shape[:2]:
        raise ValueError(
            f"{name}: expected the size of the image {image.shape[:2]}, got {values.shape}"
        )
