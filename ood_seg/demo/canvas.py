"""A picture and its label map, drawn together, and the pinhole camera that looks at the street."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ood_seg.labels import IGNORE

Colour = Sequence[float]
Paint = Colour | np.ndarray
# Farther out than this nothing is visible; OpenCV's fixed-point polygons overflow much later.
FARTHEST_PIXEL = 8000


class Canvas:
    """A BGR image `(H, W, 3)` uint8 and its labels `(H, W)` uint8.

    Every drawing method takes pixel coordinates (x to the right, y down) and paints both: the
    image with a BGR colour or a texture shaped like the image, the labels with `label`
    (None leaves them as they are, for shadows and decoration).
    """

    def __init__(self, height: int, width: int, label: int = IGNORE) -> None:
        self.image = np.zeros((height, width, 3), np.uint8)
        self.labels = np.full((height, width), label, np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.labels.shape

    def polygon(self, points: np.ndarray, paint: Paint, label: int | None = None) -> None:
        """Fill the polygon `points` of shape (K, 2)."""
        corners = _pixels(points)
        self._draw(lambda array, value: cv2.fillPoly(array, [corners], value), paint, label)

    def ellipse(
        self,
        centre: Sequence[float],
        axes: Sequence[float],
        paint: Paint,
        label: int | None = None,
        *,
        angle: float = 0,
        thickness: int = -1,
    ) -> None:
        """Fill (or outline, with `thickness` in pixels) an ellipse with half axes `axes`."""
        centre = tuple(_pixels(centre).tolist())
        axes = tuple(max(1, round(float(axis))) for axis in axes)
        self._draw(
            lambda array, value: cv2.ellipse(
                array, centre, axes, angle, 0, 360, value, thickness, cv2.LINE_8
            ),
            paint,
            label,
        )

    def line(
        self, points: np.ndarray, width: float, paint: Paint, label: int | None = None
    ) -> None:
        """Draw the open polyline `points` of shape (K, 2), `width` pixels thick."""
        corners, thickness = _pixels(points), max(1, round(width))
        self._draw(
            lambda array, value: cv2.polylines(array, [corners], False, value, thickness),
            paint,
            label,
        )

    def darken(self, points: np.ndarray, factor: float, blur: float = 0) -> None:
        """Multiply the image inside a polygon by `factor`, softened by a blur of sigma `blur`."""
        corners, (height, width) = _pixels(points), self.shape
        margin = int(3 * blur) + 1
        x0, y0 = np.maximum(corners.min(0) - margin, 0)
        x1, y1 = np.minimum(corners.max(0) + margin + 1, (width, height))
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.float32)
        cv2.fillPoly(mask, [corners - (x0, y0)], 1.0)
        if blur > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), blur)
        region = self.image[y0:y1, x0:x1]
        region[:] = region * (1 - (1 - factor) * mask)[..., None]

    def stamp(
        self, patch: np.ndarray, mask: np.ndarray, left: int, top: int, label: int | None
    ) -> None:
        """Copy `patch` (h, w, 3) under `mask` (h, w); what lies outside the canvas is cut off."""
        height, width = self.shape
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return
        inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        chosen = mask[inside] > 0
        self.image[y0:y1, x0:x1][chosen] = patch[inside][chosen]
        if label is not None:
            self.labels[y0:y1, x0:x1][chosen] = label

    def _draw(self, draw, paint: Paint, label: int | None) -> None:
        if isinstance(paint, np.ndarray) and paint.ndim == 3:
            mask = np.zeros(self.shape, np.uint8)
            draw(mask, 1)
            self.image[mask > 0] = paint[mask > 0]
        else:
            draw(self.image, tuple(float(min(max(value, 0), 255)) for value in paint))
        if label is not None:
            draw(self.labels, int(label))


def _pixels(points) -> np.ndarray:
    rounded = np.round(np.asarray(points, np.float64))
    return np.clip(rounded, -FARTHEST_PIXEL, FARTHEST_PIXEL).astype(np.int32)


def scaled(colour: Colour, factor: float) -> tuple[float, ...]:
    """The colour, lighter (`factor` > 1) or darker."""
    return tuple(float(min(max(value * factor, 0), 255)) for value in colour)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera over flat ground, looking along +z.

    Attributes:
        focal: focal length in pixels.
        centre_x, horizon: pixel of the vanishing point.
        eye: height over the ground in metres.
    """

    focal: float
    centre_x: float
    horizon: float
    eye: float

    def project(self, points) -> np.ndarray:
        """Pixels (K, 2) of `points` (K, 3): x right, y up from the ground, z ahead (metres)."""
        x, y, z = np.asarray(points, np.float64).T
        scale = self.focal / np.maximum(z, 0.5)
        return np.stack([self.centre_x + x * scale, self.horizon + (self.eye - y) * scale], -1)

    def pixels_per_metre(self, z: float) -> float:
        """Size in pixels of one metre at distance `z`."""
        return self.focal / max(z, 0.5)


def front(x0: float, x1: float, y0: float, y1: float, z: float) -> list[tuple[float, ...]]:
    """Corners of a rectangle that faces the camera."""
    return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]


def side(x: float, y0: float, y1: float, z0: float, z1: float) -> list[tuple[float, ...]]:
    """Corners of an upright rectangle along the street."""
    return [(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]


def ground(x0: float, x1: float, z0: float, z1: float) -> list[tuple[float, ...]]:
    """Corners of a rectangle on the ground."""
    return [(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)]
