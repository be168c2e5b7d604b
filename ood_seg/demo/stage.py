"""What a scene is drawn from: camera, street, weather, and the stage that bundles them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ood_seg.demo.canvas import Canvas
from ood_seg.demo.textures import Palette
from ood_seg.labels import CITYSCAPES_CLASSES

LABEL = {name: index for index, name in enumerate(CITYSCAPES_CLASSES)}
ACROSS, UP, ALONG = np.eye(3)  # metres: to the right, up, and away from the camera
# Probability, colours (BGR) of the sky above and at the horizon, colour of the light, and the
# distance in metres at which haze hides two thirds.
_WEATHER = {
    "day": (0.5, (226, 176, 112), (245, 230, 208), (0.96, 1.0, 1.04), 260),
    "overcast": (0.3, (192, 186, 178), (222, 220, 216), (0.92, 0.9, 0.88), 150),
    "dusk": (0.2, (128, 84, 66), (122, 166, 236), (0.82, 0.8, 0.93), 190),
}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera over flat ground.

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
        """Pixels (K, 2) of `points` (K, 3) in metres."""
        x, y, z = np.asarray(points, np.float64).T
        scale = self.pixels_per_metre(z)
        return np.stack([self.centre_x + x * scale, self.horizon + (self.eye - y) * scale], -1)

    def pixels_per_metre(self, z):
        """Size in pixels of one metre at distance `z`."""
        return self.focal / np.maximum(z, 0.5)


class Stage:
    """All that a drawing function needs: canvas, camera, randomness, and a random street.

    Attributes:
        road: left and right edge of the road in metres from the camera, left negative.
        pavement: width of both sidewalks.
        verge: width of the grass between sidewalk and houses, left and right (0 for none).
        weather: `day`, `overcast` or `dusk`.
        sky: BGR colours of the sky, above and at the horizon.
        light: factors of the image's channels.
    """

    def __init__(self, canvas: Canvas, camera: Camera, rng: np.random.Generator) -> None:
        self.canvas, self.camera, self.rng = canvas, camera, rng
        self.road = -rng.uniform(4.2, 7.5), rng.uniform(2.6, 5.0)
        self.pavement = rng.uniform(1.8, 3.4)
        self.verge = [rng.choice([0.0, rng.uniform(1.5, 5)]) for _ in range(2)]
        self.weather = str(rng.choice(list(_WEATHER), p=[kind[0] for kind in _WEATHER.values()]))
        _, above, below, light, self._visibility = _WEATHER[self.weather]
        self.sky = [rng.uniform(0.92, 1.06) * np.array(colour) for colour in (above, below)]
        self.light = rng.uniform(0.88, 1.08) * np.array(light, np.float32)

    def kerb(self, sign: int) -> float:
        """Edge of the road; `sign` is -1 for the left side, 1 for the right."""
        return self.road[sign > 0]

    def house_line(self, sign: int) -> float:
        """Where the facades stand."""
        return self.kerb(sign) + sign * (self.pavement + self.verge[sign > 0])

    def faded(self, colour, z: float) -> np.ndarray:
        """`colour` through the haze over `z` metres."""
        clear = np.exp(-z / self._visibility)
        return clear * colour + (1 - clear) * self.sky[1]

    def draw(self, text: str, name: str, origin, u=ACROSS, v=UP, **paints) -> None:
        """Draw shapes on a plane in space, behind the haze.

        Args:
            text: as `Canvas.draw_shapes` takes it.
            name: class of the shapes.
            origin: of their coordinates, in metres.
            u, v: steps in metres along their two coordinates.
            paints: colours that are not sampled from `COLOURS`.
        """

        def place(points: np.ndarray):
            corners = origin + points @ np.array([u, v])
            z = corners[:, 2].mean()
            scale = np.linalg.norm(u) * self.camera.pixels_per_metre(z)
            return self.camera.project(corners), scale, lambda colour: self.faded(colour, z)

        self.canvas.draw_shapes(text, place, Palette(self.rng, **paints), LABEL[name])

    def board(self, text: str, name: str, x: float, z: float, *, y=0.0, wide=1.0, tall=1.0) -> None:
        """Draw shapes in centimetres that face the camera; a negative `wide` mirrors."""
        self.draw(text, name, (x, y, z), 0.01 * wide * ACROSS, 0.01 * tall * UP)

    def shadow(self, x: float, z: float, wide: float, deep: float, factor: float) -> None:
        """Soft dark ellipse on the ground around (x, z); half axes in metres."""
        angle = np.linspace(0, 2 * np.pi, 24)
        ring = np.stack([x + wide * np.cos(angle), 0 * angle, z + deep * np.sin(angle)], -1)
        blur = 0.12 * wide * self.camera.pixels_per_metre(z)
        self.canvas.darken(self.camera.project(ring), factor, min(max(blur, 0.5), 6))

    def ground(self, x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
        """Pixels (4, 2) of a rectangle on the ground."""
        return self.camera.project([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)])
