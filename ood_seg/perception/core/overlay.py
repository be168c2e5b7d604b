"""Pictures of results, drawn with OpenCV alone; every layer has the pixels of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ood_seg.visualization import score_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ood_seg.perception.core.result import AnomalyResult
    from ood_seg.perception.core.types import Instance, Palette

LAYERS = ("anomaly", "labels", "none")

# BGR.
_EDGE_COLOUR = (255, 220, 0)  # no colour of the heat map
_BOX_COLOUR = (255, 255, 255)
_TEXT_COLOUR = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(
    result: AnomalyResult,
    *,
    layer: str = "anomaly",
    alpha: float = 0.5,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
    """Draw a result over its image: a layer of colour, the edges of the mask, and the boxes.

    A box bears its probability, or its mean score without a calibration, and its track number.

    Args:
        result: of one image.
        layer: `anomaly`, a heat map; `labels`, the colours of the classes; or `none`.
        alpha: weight of the layer, 0 (image alone) to 1 (layer alone).
        limits: scores shown darkest and brightest; by default 0 and 1 of the probability, where
            there is one, else the 1st and 99th percentile of this image's scores.

    Returns:
        `(H, W, 3)` uint8 BGR; the result is unchanged.

    Raises:
        ValueError: another layer, or alpha outside 0..1.
    """
    if layer not in LAYERS:
        raise ValueError(f"layer: expected one of {', '.join(LAYERS)}, got {layer!r}")
    if layer == "labels":
        picture = blend_labels(result.image, result.labels, result.palette, alpha)
    elif layer == "anomaly":
        values = result.anomaly
        if limits is None and result.probability is not None:
            values, limits = result.probability, (0.0, 1.0)
        picture = blend(result.image, heat_map(values, limits), alpha)
    else:
        picture = result.image.copy()
    if result.mask is not None:
        picture[mask_edges(result.mask)] = _EDGE_COLOUR
    draw_boxes(picture, result.instances)
    return picture


def blend(image: np.ndarray, layer: np.ndarray, alpha: float) -> np.ndarray:
    """`(1 - alpha) image + alpha layer`, rounded to nearest; both `(H, W, 3)` uint8.

    Raises:
        ValueError: alpha outside 0..1.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected 0..1, got {alpha}")
    return cv2.addWeighted(image, 1.0 - alpha, layer, alpha, 0.0)


def blend_labels(
    image: np.ndarray, labels: np.ndarray, palette: Palette, alpha: float = 0.5
) -> np.ndarray:
    """`visualization.label_overlay` for BGR images and uint8 labels, fast enough for video."""
    count = len(palette.colours)
    table = np.zeros((256, 3), np.uint8)
    table[:count] = np.asarray(palette.colours, np.uint8).reshape(-1, 3)[:, ::-1]
    picture = blend(image, table[labels], alpha)
    plain = labels >= count
    if plain.any():
        picture[plain] = image[plain]
    return picture


def heat_map(values: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Colour a map, dark to bright, `(H, W)` finite -> `(H, W, 3)` uint8 BGR.

    Args:
        values: scores or probabilities.
        limits: values shown darkest and brightest; by default `visualization.score_range`.

    Raises:
        ValueError: limits that are not finite and rising.
    """
    low, high = score_range(values) if limits is None else limits
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"limits: expected finite low < high, got {low} and {high}")
    unit = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return cv2.applyColorMap(np.rint(unit * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)


def mask_edges(mask: np.ndarray) -> np.ndarray:
    """Boolean `(H, W)`: flagged pixels with one of the 8 neighbours unflagged or off the image."""
    flagged = (mask != 0).astype(np.uint8)
    inner = cv2.erode(
        flagged, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return flagged > inner


def draw_boxes(picture: np.ndarray, instances: Sequence[Instance]) -> None:
    """Draw boxes and their captions into a picture; the line runs on the box's own border pixels.

    On large pictures it is thicker, to both sides.
    """
    size = min(picture.shape[:2])
    thickness = max(1, round(size / 540))
    for instance in instances:
        left, top, width, height = instance.box
        corner = (left + width - 1, top + height - 1)
        cv2.rectangle(picture, (left, top), corner, _BOX_COLOUR, thickness)
    for instance in instances:  # after all boxes, so that no line crosses a text
        _draw_caption(picture, instance, max(0.35, size / 1600))


def caption(instance: Instance) -> str:
    """What is written at a box: `#3 0.87`."""
    value = instance.mean_score if instance.probability is None else instance.probability
    track = "" if instance.track is None else f"#{instance.track} "
    return f"{track}{value:.2f}"


def _draw_caption(picture: np.ndarray, instance: Instance, scale: float) -> None:
    """Dark on light above the box, or inside it where it touches the top."""
    text = caption(instance)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    left = max(0, min(instance.box[0], picture.shape[1] - width))
    top = instance.box[1] - height - below - 1
    top = top if top >= 0 else instance.box[1] + 1
    cv2.rectangle(picture, (left, top), (left + width, top + height + below), _BOX_COLOUR, -1)
    cv2.putText(picture, text, (left, top + height), _FONT, scale, _TEXT_COLOUR, 1, cv2.LINE_AA)
