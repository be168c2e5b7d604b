"""Layers of an overlay, drawn with OpenCV only, at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ood_seg import visualization
from ood_seg.perception.core.types import Instance, Palette

# BGR.
_EDGE_COLOUR = (255, 220, 0)  # not in the heat map
_BOX_COLOUR = (255, 255, 255)
_TEXT_COLOUR = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def blend_labels(
    image: np.ndarray, labels: np.ndarray, palette: Palette, alpha: float = 0.5
) -> np.ndarray:
    """`visualization.label_overlay` for BGR images."""
    colours = [colour[::-1] for colour in palette.colours]
    return visualization.label_overlay(image, labels, colours, alpha)


def heat_map(values: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """`visualization.heat_map` in BGR; by default, `score_range` of the values is shown."""
    low, high = limits or (None, None)
    return cv2.cvtColor(visualization.heat_map(values, low, high), cv2.COLOR_RGB2BGR)


def mask_edges(mask: np.ndarray) -> np.ndarray:
    """Boolean `(H, W)`: flagged pixels with an unflagged 8-neighbour or at the image border."""
    flagged = (mask != 0).astype(np.uint8)
    inner = cv2.erode(
        flagged, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return flagged > inner


def draw_edges(image: np.ndarray, mask: np.ndarray) -> None:
    """Draw the edges of a mask `(H, W)` into an image."""
    image[mask_edges(mask)] = _EDGE_COLOUR


def draw_boxes(image: np.ndarray, instances: Sequence[Instance]) -> None:
    """Draw boxes and captions into an image; the lines lie on the border pixels of the boxes.

    On large images the lines are thicker, to both sides.
    """
    size = min(image.shape[:2])
    thickness = max(1, round(size / 540))
    for instance in instances:
        left, top, width, height = instance.box
        corner = (left + width - 1, top + height - 1)
        cv2.rectangle(image, (left, top), corner, _BOX_COLOUR, thickness)
    for instance in instances:  # after all boxes, so that no line crosses a caption
        _draw_caption(image, instance, max(0.35, size / 1600))


def caption(instance: Instance) -> str:
    """Track number and probability of an instance, or its mean score without one: `#3 0.87`."""
    value = instance.mean_score if instance.probability is None else instance.probability
    track = "" if instance.track is None else f"#{instance.track} "
    return f"{track}{value:.2f}"


def _draw_caption(image: np.ndarray, instance: Instance, scale: float) -> None:
    """Dark on light above the box, or inside the box where it touches the top."""
    text = caption(instance)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    left = max(0, min(instance.box[0], image.shape[1] - width))
    top = instance.box[1] - height - below - 1
    top = top if top >= 0 else instance.box[1] + 1
    cv2.rectangle(image, (left, top), (left + width, top + height + below), _BOX_COLOUR, -1)
    cv2.putText(image, text, (left, top + height), _FONT, scale, _TEXT_COLOUR, 1, cv2.LINE_AA)
