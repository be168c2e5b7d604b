"""Things beside the road: trees, hedges, walls, fences, poles, lamps, lights and signs.

Every function draws one thing at (x, z) metres, or along x from z0 to z1.
"""

from __future__ import annotations

import numpy as np

from ood_seg.demo.canvas import front, scaled, side
from ood_seg.demo.stage import LABEL, Stage
from ood_seg.demo.textures import random_colour

GALVANISED = (128, 126, 122)


def ground_shadow(
    stage: Stage, x: float, z: float, half: tuple[float, float], factor: float
) -> None:
    """Soft dark ellipse on the ground around (x, z), `half` wide and deep in metres."""
    angle = np.linspace(0, 2 * np.pi, 24)
    ring = np.stack([x + half[0] * np.cos(angle), 0 * angle, z + half[1] * np.sin(angle)], -1)
    blur = 0.12 * half[0] * stage.camera.pixels_per_metre(z)
    stage.canvas.darken(stage.camera.project(ring), factor, min(max(blur, 0.5), 6))


def draw_tree(stage: Stage, x: float, z: float) -> None:
    """A trunk under a crown of overlapping leaf clusters, rarely in autumn colours."""
    label, rng = LABEL["vegetation"], stage.rng
    trunk, crown = rng.uniform(1.8, 3.0), rng.uniform(1.2, 2.4)
    ground_shadow(stage, x, z, (crown * 0.7, 0.8), 0.78)
    half = rng.uniform(0.12, 0.22)
    bark = random_colour(rng, (0.05, 0.1), (0.2, 0.4), (0.22, 0.38))
    stage.face(front(x - half, x + half, 0, trunk + 0.8, z), bark, label)
    green = random_colour(rng, (0.2, 0.36), (0.35, 0.7), (0.3, 0.52))
    if rng.random() < 0.12:
        green = random_colour(rng, (0.05, 0.13), (0.5, 0.8), (0.45, 0.7))
    for index in range(46):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        height = trunk + crown + 0.95 * crown * reach * np.sin(angle)
        across = x + crown * reach * np.cos(angle)
        radius = rng.uniform(0.16, 0.4) * crown * (1.2 if index < 12 else 0.8)
        sun = 0.8 + 0.3 * np.sin(angle) * reach + rng.uniform(-0.16, 0.16)
        stage.disc((across, height, z), radius, scaled(green, sun), label, squash=0.8)


def draw_hedge(stage: Stage, x: float, z0: float, z1: float) -> None:
    """A hedge along the street, lighter at its top."""
    rng = stage.rng
    height = rng.uniform(0.8, 1.8)
    green = random_colour(rng, (0.22, 0.34), (0.35, 0.65), (0.26, 0.44))
    for z in np.arange(z1, z0, -0.45):
        for y in np.arange(0.2, height, 0.4):
            tint = scaled(green, 0.7 + 0.35 * y / height + rng.uniform(-0.12, 0.12))
            centre = (x + rng.normal(0, 0.08), y + rng.normal(0, 0.06), z)
            stage.disc(centre, rng.uniform(0.3, 0.42), tint, LABEL["vegetation"])


def draw_wall(stage: Stage, x: float, z0: float, z1: float) -> None:
    """A free-standing wall of courses under a cap."""
    label, rng = LABEL["wall"], stage.rng
    height = rng.uniform(1.6, 2.8)
    colour = random_colour(rng, (0.02, 0.12), (0.05, 0.35), (0.45, 0.68))
    stage.face(side(x, 0, height, z0, z1), colour, label)
    for y in np.arange(0.3, height, 0.3):
        stage.bar([(x, y, z0), (x, y, z1)], 0.02, scaled(colour, 0.8))
    stage.face(side(x, height - 0.12, height, z0, z1), scaled(colour, 1.2), label)


def draw_fence(stage: Stage, x: float, z0: float, z1: float) -> None:
    """Slats on two rails; what shows through the gaps is fence too, as in Cityscapes."""
    rng = stage.rng
    height = rng.uniform(1.0, 1.9)
    colour = random_colour(rng, (0.05, 0.4), (0.05, 0.4), (0.3, 0.85))
    panel = stage.camera.project(side(x, 0.05, height, z0, z1))
    stage.canvas.darken(panel, 0.72)
    stage.canvas.polygon(panel, stage.canvas.image.copy(), LABEL["fence"])
    for z in np.arange(z1, z0, -rng.uniform(0.25, 0.5)):
        stage.bar([(x, 0.05, z), (x, height, z)], 0.09, colour)
    for y in (0.3 * height, 0.92 * height):
        stage.face(side(x, y, y + 0.1, z0, z1), scaled(colour, 0.9))


def draw_pole(stage: Stage, x: float, z: float, height: float, colour=GALVANISED) -> None:
    """A plain round pole of the given height."""
    half = max(0.07, 0.9 / stage.camera.pixels_per_metre(z))
    ground_shadow(stage, x, z, (0.3, 0.3), 0.8)
    stage.face(front(x - half, x + half, 0, height, z), colour, LABEL["pole"])
    stage.face(front(x - half, x - 0.3 * half, 0, height, z), scaled(colour, 1.25))


def draw_lamp(stage: Stage, x: float, z: float) -> None:
    """A street lamp whose arm reaches over the road."""
    rng = stage.rng
    height, arm = rng.uniform(5.5, 8), -np.sign(x) * rng.uniform(0.8, 1.8)
    colour = scaled(GALVANISED, rng.uniform(0.55, 1.1))
    draw_pole(stage, x, z, height, colour)
    tip = (x + arm, height + 0.25, z)
    stage.bar([(x, height, z), tip], 0.12, colour, LABEL["pole"])
    bulb = (190, 236, 255) if stage.style.name == "dusk" else (206, 212, 214)
    stage.disc(tip, 0.32, bulb, LABEL["pole"], squash=0.4)


def draw_traffic_light(stage: Stage, x: float, z: float) -> None:
    """A pole with a box of three lamps, one of them lit."""
    label, rng = LABEL["traffic light"], stage.rng
    height = rng.uniform(2.5, 3.6)
    draw_pole(stage, x, z, height, scaled(GALVANISED, 0.8))
    box = front(x - 0.22, x + 0.22, height - 0.15, height + 0.9, z)
    stage.face(box, (38, 40, 36), label)
    lit = rng.integers(3)
    for index, lamp in enumerate(((70, 200, 60), (50, 190, 245), (50, 50, 235))):
        colour = lamp if index == lit else scaled(lamp, 0.3)
        stage.disc((x, height + 0.06 + 0.31 * index, z), 0.13, colour, label)


def draw_sign(stage: Stage, x: float, z: float) -> None:
    """A round, triangular, diamond-shaped or square sign on a pole."""
    label, rng = LABEL["traffic sign"], stage.rng
    height, size = rng.uniform(2.0, 2.7), rng.uniform(0.36, 0.5)
    draw_pole(stage, x, z, height)
    red, white, blue, yellow = (46, 40, 200), (232, 234, 236), (176, 96, 32), (40, 196, 242)
    # rim, inside, number of corners, share of a full turn
    looks = (
        (red, white, 40, 0.0),
        (red, white, 3, 0.25),
        (white, yellow, 4, 0.25),
        (white, blue, 4, 0.125),
        (blue, blue, 40, 0.0),
    )
    rim, inside, corners, turn = looks[rng.integers(len(looks))]
    for colour, radius in ((rim, size), (inside, 0.7 * size)):
        angle = 2 * np.pi * (np.arange(corners) / corners + turn)
        across, up = x + radius * np.cos(angle), height + 0.2 + radius * np.sin(angle)
        stage.face(np.stack([across, up, 0 * angle + z], -1), colour, label)
    bar = front(x - 0.4 * size, x + 0.4 * size, height + 0.14, height + 0.26, z)
    stage.face(bar, white if inside == blue else (50, 46, 44), label)
