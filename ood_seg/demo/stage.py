"""What a scene is drawn from: street, light and weather, and the stage that bundles them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_seg.demo.canvas import Camera, Canvas, scaled
from ood_seg.labels import CITYSCAPES_CLASSES

LABEL = {name: index for index, name in enumerate(CITYSCAPES_CLASSES)}


@dataclass(frozen=True)
class Street:
    """Where things are across the street, metres from the camera, left negative.

    Attributes:
        left, right: edges of the road.
        pavement: width of both sidewalks.
        verge: width of the grass between sidewalk and houses, left and right (0 for none).
    """

    left: float
    right: float
    pavement: float
    verge: tuple[float, float]

    def house_line(self, sign: int) -> float:
        """Where the facades stand; `sign` is -1 for the left side, 1 for the right."""
        edge = self.left if sign < 0 else self.right
        return edge + sign * (self.pavement + self.verge[sign > 0])


@dataclass(frozen=True)
class Style:
    """Light and weather: BGR colours of the sky, colour of the light, how far one sees."""

    name: str
    sky_top: tuple[float, float, float]
    sky_bottom: tuple[float, float, float]
    light: tuple[float, float, float]
    visibility: float

    def faded(self, colour, z: float) -> tuple[float, ...]:
        """`colour` as seen through the haze over `z` metres."""
        clear = np.exp(-z / self.visibility)
        mixed = clear * np.asarray(colour, float) + (1 - clear) * np.asarray(self.sky_bottom)
        return tuple(mixed)


def sample_street(rng: np.random.Generator) -> Street:
    """Draw the cross-section of a street."""
    verge = tuple(float(rng.choice([0.0, rng.uniform(1.5, 5)])) for _ in range(2))
    return Street(
        left=-rng.uniform(4.2, 7.5),
        right=rng.uniform(2.6, 5.0),
        pavement=rng.uniform(1.8, 3.4),
        verge=verge,
    )


def sample_style(rng: np.random.Generator) -> Style:
    """Draw light and weather: a bright day, an overcast one, or dusk."""
    jitter = rng.uniform(0.92, 1.06, 3)
    kinds = {
        "day": ((226, 176, 112), (245, 230, 208), (0.96, 1.0, 1.04), 260.0),
        "overcast": ((192, 186, 178), (222, 220, 216), (0.92, 0.9, 0.88), 150.0),
        "dusk": ((128, 84, 66), (122, 166, 236), (0.82, 0.8, 0.93), 190.0),
    }
    name = str(rng.choice(list(kinds), p=[0.5, 0.3, 0.2]))
    top, bottom, light, visibility = kinds[name]
    light = tuple(np.asarray(light) * rng.uniform(0.88, 1.08))
    return Style(name, scaled(top, jitter[0]), scaled(bottom, jitter[1]), light, visibility)


@dataclass(frozen=True)
class Stage:
    """All that a drawing function needs: where to draw, how it is seen, and the randomness."""

    canvas: Canvas
    camera: Camera
    street: Street
    style: Style
    rng: np.random.Generator

    def face(self, corners, colour, label: int | None = None) -> None:
        """Fill the polygon through `corners` (K, 3) in metres, faded by the haze before it."""
        z = sum(corner[2] for corner in corners) / len(corners)
        self.canvas.polygon(self.camera.project(corners), self.style.faded(colour, z), label)

    def disc(self, centre, radius: float, colour, label: int | None = None, squash=1.0) -> None:
        """Fill a disc of `radius` metres that faces the camera; `squash` scales its height."""
        pixels = radius * self.camera.pixels_per_metre(centre[2])
        self.canvas.ellipse(
            self.camera.project([centre])[0],
            (pixels, squash * pixels),
            self.style.faded(colour, centre[2]),
            label,
        )

    def bar(self, points, width: float, colour, label: int | None = None) -> None:
        """Draw a polyline through `points` (K, 3), `width` metres thick but always visible."""
        z = sum(point[2] for point in points) / len(points)
        pixels = max(1.0, width * self.camera.pixels_per_metre(z))
        colour = self.style.faded(colour, z)
        self.canvas.line(self.camera.project(points), pixels, colour, label)
