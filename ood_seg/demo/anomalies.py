"""Anomalies of the evaluation scenes; none of these kinds is ever pasted in training.

Each painter draws on a square `Canvas`; the object fills its width and stands on its bottom.
"""

from __future__ import annotations

import cv2
import numpy as np

from ood_seg.demo.canvas import Canvas, scaled
from ood_seg.demo.stage import Stage
from ood_seg.demo.textures import checker, diagonal_stripes, random_colour, shading, smooth_noise
from ood_seg.demo.wayside import ground_shadow
from ood_seg.labels import IGNORE, OUTLIER

PAINTER_SIZE = 160


def cone(canvas: Canvas, rng: np.random.Generator) -> None:
    """Traffic cone with white bands on a square foot."""
    size = canvas.shape[0]
    orange = random_colour(rng, (0.02, 0.07), (0.85, 1.0), (0.85, 1.0))
    corners = np.array([(0.44, 0.02), (0.56, 0.02), (0.8, 0.92), (0.2, 0.92)])
    canvas.polygon(corners * size, orange, OUTLIER)
    for low, high in ((0.3, 0.45), (0.58, 0.75)):
        edges = [(0.5 - 0.06 - 0.24 * y, y) for y in (low, high)]
        mirror = [(1 - u, y) for u, y in reversed(edges)]
        canvas.polygon(np.array(edges + mirror) * size, (232, 236, 238), OUTLIER)
    foot = np.array([(0.08, 0.9), (0.92, 0.9), (0.92, 1.0), (0.08, 1.0)])
    canvas.polygon(foot * size, scaled(orange, 0.7), OUTLIER)


def tyre(canvas: Canvas, rng: np.random.Generator) -> None:
    """A painted tyre lying on another one, both striped."""
    size = canvas.shape[0]
    bright = random_colour(rng, (0, 1), (0.6, 1.0), (0.8, 1.0))
    stripes = diagonal_stripes(size, rng.uniform(6, 10), bright, (40, 40, 40))
    canvas.ellipse((0.5 * size, 0.8 * size), (0.48 * size, 0.19 * size), stripes, OUTLIER)
    canvas.ellipse((0.5 * size, 0.66 * size), (0.48 * size, 0.19 * size), (34, 34, 36), OUTLIER)
    canvas.ellipse((0.5 * size, 0.5 * size), (0.48 * size, 0.2 * size), stripes, OUTLIER)
    canvas.ellipse((0.5 * size, 0.48 * size), (0.26 * size, 0.09 * size), (24, 22, 22), OUTLIER)


def deer(canvas: Canvas, rng: np.random.Generator) -> None:
    """A deer with antlers."""
    size = canvas.shape[0]
    fur = np.asarray(random_colour(rng, (0.05, 0.09), (0.45, 0.7), (0.4, 0.68)))
    coat = fur * (1 + 0.12 * smooth_noise(rng, size, size, 6)[..., None])
    coat = coat.clip(0, 255).astype(np.uint8)
    for foot, top in ((0.24, 0.28), (0.36, 0.34), (0.64, 0.62), (0.74, 0.68)):
        leg = [(top - 0.04, 0.55), (top + 0.05, 0.55), (foot + 0.025, 1.0), (foot - 0.025, 1.0)]
        canvas.polygon(np.array(leg) * size, scaled(fur, 0.72), OUTLIER)
    canvas.ellipse((0.47 * size, 0.52 * size), (0.27 * size, 0.13 * size), coat, OUTLIER)
    neck = np.array([(0.6, 0.5), (0.72, 0.55), (0.84, 0.28), (0.75, 0.22)])
    canvas.polygon(neck * size, coat, OUTLIER)
    head = (0.84 * size, 0.25 * size)
    canvas.ellipse(head, (0.1 * size, 0.055 * size), coat, OUTLIER, angle=25)
    for tip in ((0.62, 0.02), (0.92, 0.0), (0.72, 0.0)):
        antler = np.array([(0.79, 0.22), (0.5 * (0.79 + tip[0]) - 0.03, 0.14), tip]) * size
        canvas.line(antler, 0.028 * size, (150, 176, 196), OUTLIER)
    canvas.ellipse((0.2 * size, 0.46 * size), (0.04 * size, 0.06 * size), (220, 228, 232), OUTLIER)


def crate(canvas: Canvas, rng: np.random.Generator) -> None:
    """A checkered crate, seen over one edge."""
    size = canvas.shape[0]
    first = random_colour(rng, (0, 1), (0.5, 1.0), (0.6, 1.0))
    second = scaled(random_colour(rng, (0, 1), (0.0, 0.3), (0.85, 1.0)), 1.0)
    face = checker(size, int(rng.integers(5, 9)), first, second)
    canvas.polygon(
        np.array([(0.0, 0.25), (0.68, 0.3), (0.68, 1.0), (0.0, 0.94)]) * size, face, OUTLIER
    )
    dark = (face * 0.62).astype(np.uint8)
    canvas.polygon(
        np.array([(0.68, 0.3), (1.0, 0.22), (1.0, 0.86), (0.68, 1.0)]) * size, dark, OUTLIER
    )
    lid = np.array([(0.0, 0.25), (0.36, 0.16), (1.0, 0.22), (0.68, 0.3)])
    canvas.polygon(lid * size, scaled(first, 1.15), OUTLIER)


def star(canvas: Canvas, rng: np.random.Generator) -> None:
    """A fallen festival star."""
    size = canvas.shape[0]
    points = int(rng.integers(5, 8))
    angle = np.pi * np.arange(2 * points) / points - 0.5 * np.pi + rng.uniform(-0.2, 0.2)
    radius = np.where(np.arange(2 * points) % 2 == 0, 0.5, 0.23)
    corners = 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    gold = random_colour(rng, (0.1, 0.16), (0.6, 1.0), (0.85, 1.0))
    canvas.polygon(corners * size, gold, OUTLIER)
    for index in range(0, 2 * points, 2):
        facet = np.array([(0.5, 0.5), corners[index], corners[(index + 1) % (2 * points)]])
        canvas.polygon(facet * size, scaled(gold, 0.72), OUTLIER)


def barrier(canvas: Canvas, rng: np.random.Generator) -> None:
    """A construction barrier: a board with red and white diagonals on two legs."""
    size = canvas.shape[0]
    for leg in (0.16, 0.78):
        post = np.array([(leg, 0.35), (leg + 0.07, 0.35), (leg + 0.07, 1.0), (leg, 1.0)])
        canvas.polygon(post * size, (96, 98, 100), OUTLIER)
        foot = np.array([(leg - 0.1, 0.95), (leg + 0.17, 0.95), (leg + 0.17, 1), (leg - 0.1, 1)])
        canvas.polygon(foot * size, (52, 50, 52), OUTLIER)
    red = random_colour(rng, (0.97, 1.03), (0.8, 0.95), (0.75, 0.95))
    board = diagonal_stripes(size, rng.uniform(9, 13), red, (236, 238, 238))
    for low, high in ((0.38, 0.56), (0.66, 0.8)):
        plank = np.array([(0.0, low), (1.0, low), (1.0, high), (0.0, high)])
        canvas.polygon(plank * size, board, OUTLIER)


def rubble(canvas: Canvas, rng: np.random.Generator) -> None:
    """A heap of angular stones."""
    size = canvas.shape[0]
    for _ in range(16):
        x = rng.uniform(0.16, 0.84)
        y = 0.93 - rng.uniform(0, 0.45) * (1 - 2 * abs(x - 0.5))
        radius = rng.uniform(0.07, 0.15)
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        corners = np.stack([x + radius * np.cos(angle), y + 0.7 * radius * np.sin(angle)], -1)
        stone = random_colour(rng, (0.03, 0.12), (0.1, 0.4), (0.4, 0.8))
        canvas.polygon(corners.clip(0, 1) * size, stone, OUTLIER)


# Painter and height over the ground in metres, from and to.
ANOMALY_KINDS = {
    "cone": (cone, (0.6, 1.1)),
    "tyre": (tyre, (0.6, 1.0)),
    "deer": (deer, (1.3, 1.9)),
    "crate": (crate, (0.6, 1.3)),
    "star": (star, (0.7, 1.3)),
    "barrier": (barrier, (0.9, 1.3)),
    "rubble": (rubble, (0.5, 0.9)),
}


def draw_anomaly(stage: Stage, kind: str, x: float, z: float) -> None:
    """Draw an anomaly of `kind` with its shadow at (x, z) on the road."""
    painter, heights = ANOMALY_KINDS[kind]
    rng = stage.rng
    patch = Canvas(PAINTER_SIZE, PAINTER_SIZE)
    painter(patch, rng)
    light = shading(rng, *patch.shape) * np.float32(rng.uniform(0.8, 1.05))
    image = (patch.image * light).clip(0, 255).astype(np.uint8)
    mask = (patch.labels != IGNORE).astype(np.uint8)
    if rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    image, mask = image[box], mask[box]
    metres = rng.uniform(*heights)
    height = max(6, round(metres * stage.camera.pixels_per_metre(z)))
    width = max(4, round(height * mask.shape[1] / mask.shape[0]))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    half = 0.5 * width / stage.camera.pixels_per_metre(z)
    ground_shadow(stage, x, z, (1.15 * half, 0.35), 0.45)
    foot_x, foot_y = stage.camera.project([(x, 0, z)])[0]
    left, top = round(foot_x - width / 2), round(foot_y) - height
    stage.canvas.stamp(image, mask, left, top, OUTLIER)
