"""An image and its label map, drawn together, and shapes written as text."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ood_seg.demo.textures import Palette
from ood_seg.labels import IGNORE

# Farther out than this nothing is visible; OpenCV's fixed-point polygons overflow much later.
FARTHEST_PIXEL = 8000


class Canvas:
    """A BGR image `(H, W, 3)` uint8 and its labels `(H, W)` uint8."""

    def __init__(self, height: int, width: int, label: int = IGNORE) -> None:
        self.image = np.zeros((height, width, 3), np.uint8)
        self.labels = np.full((height, width), label, np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.labels.shape

    def draw(self, points, paint, label: int | None = None, width=0.0, closed=False) -> None:
        """Fill a polygon, or with `width` > 0 draw a line of so many pixels.

        Args:
            points: corners (K, 2) in pixels, x to the right, y down.
            paint: BGR colour, texture of the canvas's size, or None to leave the image.
            label: None leaves the labels.
            width: of a line.
            closed: whether the line returns to its start.
        """
        corners = _pixels(points)

        def draw(array: np.ndarray, value) -> None:
            if width:
                cv2.polylines(array, [corners], closed, value, round(width))
            else:
                cv2.fillPoly(array, [corners], value)

        if np.ndim(paint) == 3:
            mask = np.zeros(self.shape, np.uint8)
            draw(mask, 1)
            self.image[mask > 0] = paint[mask > 0].clip(0, 255)
        elif paint is not None:
            draw(self.image, np.clip(paint, 0, 255).tolist())
        if label is not None:
            draw(self.labels, int(label))

    def draw_shapes(self, text: str, place: Callable, palette: Palette, label: int) -> None:
        """Draw shapes one over another, each written as `PAINT KIND NUMBERS`, split by semicolons.

        | KIND | NUMBERS |
        |---|---|
        | `poly` | x y of each corner |
        | `box` | x y of two opposite corners |
        | `oval` | x y of the centre, half axes, degrees (0 if left out) |
        | `line`, `ring` | width, then x y of each point, or those of an oval |
        | `cloud` | count, radius and corners of its parts, then those of an oval |

        Args:
            text: PAINT is a name of the palette, or `none` for the label alone.
            place: from points (K, 2) to their pixels, pixels per unit, and a function that fades
                a paint.
            palette: paints, and the generator that scatters clouds.
            label: of all shapes.
        """
        for entry in filter(str.strip, text.split(";")):
            name, kind, *words = entry.split()
            numbers = [float(word) for word in words]
            width = numbers.pop(0) if kind in ("line", "ring") else 0
            if kind == "cloud":
                lights, parts = _cloud(palette.rng, *numbers)
            else:
                lights, parts = [1.0], _outline(kind, numbers)[None]
            pixels, scale, fade = place(parts.reshape(-1, 2))
            for light, corners in zip(lights, pixels.reshape(parts.shape), strict=True):
                paint = None if name == "none" else fade(palette[name] * light)
                self.draw(corners, paint, label, width and max(1, width * scale), kind == "ring")

    def darken(self, points, factor: float, blur: float = 0) -> None:
        """Multiply the image inside a polygon by `factor`, softened by a blur of sigma `blur`."""
        corners, margin = _pixels(points), int(3 * blur) + 1
        first = np.maximum(corners.min(0) - margin, 0)
        last = np.maximum(corners.max(0) + margin + 1, 0)
        region = self.image[first[1] : last[1], first[0] : last[0]]
        if not region.size:
            return
        mask = np.zeros(region.shape[:2], np.float32)
        cv2.fillPoly(mask, [corners - first.astype(np.int32)], 1.0)
        if blur > 0:
            cv2.GaussianBlur(mask, (0, 0), blur, dst=mask)
        region[:] = region * (1 - (1 - factor) * mask)[..., None]

    def stamp(self, patch: np.ndarray, mask: np.ndarray, left: int, top: int, label: int) -> None:
        """Copy `patch` (h, w, 3) under `mask` (h, w); what lies outside the canvas is cut off."""
        x, y = max(left, 0), max(top, 0)
        labels, image = self.labels[y : top + len(mask), x:], self.image[y : top + len(mask), x:]
        chosen = mask[y - top :, x - left :][: labels.shape[0], : labels.shape[1]] > 0
        rows, columns = np.nonzero(chosen)
        image[rows, columns] = patch[rows + y - top, columns + x - left]
        labels[rows, columns] = label


def _outline(kind: str, numbers: list[float]) -> np.ndarray:
    """Corners (K, 2) of a shape."""
    if kind == "box":
        x0, y0, x1, y1 = numbers
        numbers = [x0, y0, x1, y0, x1, y1, x0, y1]
    elif kind in ("oval", "ring"):
        x, y, across, down, degrees = [*numbers, 0][:5]
        angle, turn = np.linspace(0, 2 * np.pi, 33)[:-1], np.radians(degrees)
        u, v = across * np.cos(angle), down * np.sin(angle)
        u, v = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
        return np.stack([x + u, y + v], -1)
    return np.reshape(numbers, (-1, 2))


def _cloud(rng: np.random.Generator, count, radius, corners, x, y, across, down):
    """Brightness (N,) and corners (N, K, 2) of irregular polygons that are scattered in an oval."""
    count, corners = int(count), int(corners)
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    turns = 2 * np.pi * (np.arange(corners) + rng.uniform(0, 0.8, (count, corners))) / corners
    size = radius * rng.uniform(0.6, 1.3, (count, 1))
    points_x = (x + across * reach * np.cos(angle))[:, None] + size * np.cos(turns)
    points_y = (y + down * reach * np.sin(angle))[:, None] + size * np.sin(turns)
    lights = 0.85 + 0.2 * np.sin(angle) * reach + rng.uniform(-0.18, 0.18, count)
    return lights, np.stack([points_x, points_y], -1)


def _pixels(points) -> np.ndarray:
    return np.rint(points).clip(-FARTHEST_PIXEL, FARTHEST_PIXEL).astype(np.int32)
