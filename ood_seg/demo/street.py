"""The fixed part of a drawn scene: sky, ground, markings, skyline and the houses."""

from __future__ import annotations

import itertools

import numpy as np

from ood_seg.demo.canvas import front, ground, scaled, side
from ood_seg.demo.stage import LABEL, Stage
from ood_seg.demo.textures import gradient, random_colour, smooth_noise

FARTHEST = 130.0
NEAREST = 2.0


def draw_sky(stage: Stage) -> None:
    """Gradient and clouds over the whole canvas."""
    canvas, style, rng = stage.canvas, stage.style, stage.rng
    width = canvas.shape[1]
    rows = max(4, int(stage.camera.horizon) + 4)
    sky = gradient(style.sky_top, style.sky_bottom, rows, width).astype(np.float32)
    clouds = smooth_noise(rng, rows, width, width / 5) + 0.5 * smooth_noise(
        rng, rows, width, width / 16
    )
    amount = (clouds - rng.uniform(0.0, 0.8)).clip(0, 1)[..., None] * rng.uniform(0.3, 0.9)
    cloud_colour = np.asarray(scaled(style.sky_bottom, 1.04), np.float32)
    canvas.image[:rows] = (sky * (1 - amount) + cloud_colour * amount).clip(0, 255)
    canvas.labels[:] = LABEL["sky"]


def draw_ground(stage: Stage) -> None:
    """Grass, sidewalks, kerbs and the road, from the horizon to the camera."""
    canvas, street, style, rng = stage.canvas, stage.street, stage.style, stage.rng
    grass = random_colour(rng, (0.2, 0.32), (0.35, 0.6), (0.4, 0.58))
    stone = np.asarray(random_colour(rng, (0.02, 0.14), (0.03, 0.16), (0.56, 0.72)))
    asphalt = np.asarray(random_colour(rng, (0.55, 0.72), (0.02, 0.14), (0.32, 0.46)))
    height, _ = canvas.shape
    top = int(stage.camera.horizon)
    far, near = style.faded(grass, FARTHEST), scaled(grass, 1.0)
    canvas.image[top:] = gradient(far, near, height - top, canvas.shape[1])
    canvas.labels[top:] = LABEL["terrain"]

    def strip(x0: float, x1: float, colour, name: str | None) -> None:
        # Strips in depth let the haze grade the colour.
        edges = np.geomspace(NEAREST, FARTHEST, 9)
        for z0, z1 in itertools.pairwise(edges):
            label = None if name is None else LABEL[name]
            stage.face(ground(x0, x1, z0, z1), colour, label)

    strip(street.left - street.pavement, street.left, stone, "sidewalk")
    strip(street.right, street.right + street.pavement, stone * 0.97, "sidewalk")
    strip(street.left, street.right, asphalt, "road")
    strip(street.left - 0.18, street.left, stone * 1.18, None)
    strip(street.right, street.right + 0.18, stone * 1.18, None)
    _draw_slabs(stage, stone * 0.82)
    _draw_markings(stage)


def _draw_slabs(stage: Stage, colour) -> None:
    street = stage.street
    step = stage.rng.uniform(1.0, 2.2)
    for z in np.arange(4, 28, step):
        for x0, x1 in (
            (street.left - street.pavement, street.left - 0.2),
            (street.right + 0.2, street.right + street.pavement),
        ):
            stage.bar([(x0, 0, z), (x1, 0, z)], 0.02, colour)


def _draw_markings(stage: Stage) -> None:
    street, rng = stage.street, stage.rng
    white = np.asarray((222, 226, 226)) * rng.uniform(0.8, 1.0)

    def stripe(x0: float, x1: float, z0: float, z1: float) -> None:
        z0 = max(z0, NEAREST)
        if z1 > z0:
            stage.face(ground(x0, x1, z0, z1), white)

    middle = 0.5 * (street.left + street.right) + rng.uniform(-0.5, 0.5)
    dash, gap = rng.uniform(2, 4), rng.uniform(2.5, 5)
    for z in np.arange(NEAREST + rng.uniform(-4, 0), 90, dash + gap):
        stripe(middle - 0.08, middle + 0.08, z, z + dash)
    if rng.random() < 0.5:
        stripe(street.right - 0.55, street.right - 0.42, NEAREST, FARTHEST)
        stripe(street.left + 0.42, street.left + 0.55, NEAREST, FARTHEST)
    if rng.random() < 0.3:
        z = rng.uniform(9, 24)
        for x in np.arange(street.left + 0.4, street.right - 0.6, 1.0):
            stripe(x, x + 0.5, z, z + rng.uniform(2.4, 2.6))
    for _ in range(rng.integers(0, 3)):
        x, z = rng.uniform(street.left + 1, street.right - 1), rng.uniform(6, 20)
        _draw_manhole(stage, x, z)


def _draw_manhole(stage: Stage, x: float, z: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 20)
    circle = np.stack([x + 0.35 * np.cos(angle), 0 * angle, z + 0.35 * np.sin(angle)], -1)
    stage.face(circle, (62, 60, 58))
    stage.bar(circle, 0.03, (92, 90, 88))


def draw_skyline(stage: Stage) -> None:
    """Far houses and trees that close the street at the horizon."""
    rng = stage.rng
    metres = rng.uniform(-60, -50)
    while metres < 60:
        width, z = rng.uniform(5, 14), rng.uniform(100, FARTHEST)
        if rng.random() < 0.55:
            colour = random_colour(rng, (0.0, 0.12), (0.1, 0.4), (0.4, 0.75))
            block = front(metres, metres + width, 0, rng.uniform(6, 17), z)
            stage.face(block, colour, LABEL["building"])
        else:
            colour = random_colour(rng, (0.22, 0.36), (0.3, 0.6), (0.25, 0.45))
            for _ in range(8):
                centre = metres + rng.uniform(0, width), rng.uniform(1, 6), z
                tint = scaled(colour, rng.uniform(0.85, 1.15))
                stage.disc(centre, rng.uniform(1.5, 3.5), tint, LABEL["vegetation"])
        metres += width * rng.uniform(0.6, 1.1)


def draw_houses(stage: Stage) -> None:
    """Rows of houses on both sides, far ones first; here and there a gap."""
    rng = stage.rng
    for sign in (-1, 1):
        openness = rng.uniform(0.0, 0.4)
        plots, z = [], rng.uniform(4, 9)
        while z < 110:
            length = rng.uniform(7, 17)
            if rng.random() > openness:
                plots.append((z, z + length))
            z += length + (rng.uniform(1, 4) if rng.random() < 0.3 else 0)
        for z0, z1 in reversed(plots):
            _draw_house(stage, stage.street.house_line(sign), sign, (z0, z1))


def _draw_house(stage: Stage, x: float, sign: int, depth: tuple[float, float]) -> None:
    rng = stage.rng
    z0, z1 = depth
    x = x + sign * rng.uniform(0, 0.8)
    height = rng.uniform(6, 17)
    wall = random_colour(rng, (0.0, 0.15), (0.08, 0.5), (0.45, 0.9))
    sunny = rng.uniform(0.8, 1.1)
    label = LABEL["building"]
    gable = front(x, x + sign * 14, 0, height, z0)
    stage.face(gable, scaled(wall, 0.68), label)
    facade = side(x, 0, height, z0, z1)
    stage.face(facade, scaled(wall, sunny), label)
    base = side(x, 0, rng.uniform(0.4, 1.0), z0, z1)
    stage.face(base, scaled(wall, 0.6), label)
    roof = side(x, height - rng.uniform(0.3, 0.9), height, z0, z1)
    roof_colour = random_colour(rng, (0.0, 0.08), (0.2, 0.6), (0.25, 0.5))
    stage.face(roof, roof_colour, label)
    _draw_windows(stage, x, depth, height, wall)


def _draw_windows(stage: Stage, x, depth, height, wall) -> None:
    rng = stage.rng
    z0, z1 = depth
    storey, bay = rng.uniform(2.7, 3.4), rng.uniform(1.8, 3.2)
    tall, wide = rng.uniform(1.1, 1.8), rng.uniform(0.8, 0.62 * bay)
    frame = scaled(wall, rng.choice([0.55, 1.3]))
    for bottom in np.arange(0.9, height - 2.2, storey):
        for z in np.arange(z0 + 0.6, z1 - wide - 0.2, bay):
            glass = scaled((118, 98, 82), rng.uniform(0.5, 1.25))
            if stage.style.name == "dusk" and rng.random() < 0.35:
                glass = (110, 190, 238)
            if stage.camera.pixels_per_metre(z) * wide > 5:
                rim = side(x, bottom - 0.12, bottom + tall + 0.12, z - 0.12, z + wide + 0.12)
                stage.face(rim, frame)
            if stage.camera.pixels_per_metre(z) * tall < 2:
                continue
            pane = side(x, bottom, bottom + tall, z, z + wide)
            stage.face(pane, glass)
