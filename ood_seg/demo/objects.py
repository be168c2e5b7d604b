"""Objects pasted in training: drawn pictures of COCO categories with exact masks.

Each painter draws one object on a square `Canvas` in unit coordinates and takes a `paint`
texture. The kinds, and the textures of `textures.surface`, have nothing in common with the
evaluation anomalies of `anomalies.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ood_seg.demo.canvas import Canvas, scaled
from ood_seg.demo.textures import random_colour, surface
from ood_seg.labels import OUTLIER

Painter = Callable[[Canvas, np.ndarray, np.random.Generator], None]


def _shape(canvas: Canvas, points, paint) -> None:
    canvas.polygon(np.asarray(points) * canvas.shape[0], paint, OUTLIER)


def _oval(canvas: Canvas, centre, axes, paint, angle: float = 0) -> None:
    size = canvas.shape[0]
    pixels = (centre[0] * size, centre[1] * size), (axes[0] * size, axes[1] * size)
    canvas.ellipse(*pixels, paint, OUTLIER, angle=angle)


def _stroke(canvas: Canvas, points, width: float, paint) -> None:
    size = canvas.shape[0]
    canvas.line(np.asarray(points) * size, width * size, paint, OUTLIER)


def _block(canvas: Canvas, x0, y0, x1, y1, paint) -> None:
    _shape(canvas, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], paint)


def ball(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A ball with a seam and a highlight."""
    _oval(canvas, (0.5, 0.5), (0.46, 0.46), paint)
    bend = rng.uniform(0.2, 0.8)
    seam = [(0.06, 0.5), (0.3, bend), (0.7, bend), (0.94, 0.5)]
    canvas.line(np.array(seam) * canvas.shape[0], 3, random_colour(rng))
    canvas.ellipse(np.array((0.36, 0.32)) * canvas.shape[0], (9, 6), (240, 240, 240), angle=-40)


def chair(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A chair with a back, seat and four legs."""
    lean, seat = rng.uniform(-0.06, 0.06), rng.uniform(0.48, 0.6)
    wood = random_colour(rng, (0.03, 0.12), (0.2, 0.8), (0.25, 0.8))
    for leg in (0.22, 0.36, 0.66, 0.8):
        _stroke(canvas, [(leg, seat), (leg + rng.uniform(-0.05, 0.05), 0.98)], 0.05, wood)
    _shape(canvas, [(0.2 + lean, 0.04), (0.3 + lean, 0.02), (0.34, seat), (0.2, seat)], paint)
    _shape(canvas, [(0.18, seat - 0.03), (0.8, seat), (0.86, seat + 0.1), (0.2, seat + 0.1)], paint)


def couch(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A couch with arms and cushions."""
    low = rng.uniform(0.28, 0.4)
    _block(canvas, 0.08, low, 0.92, 0.7, paint)
    dark = (paint * 0.75).astype(np.uint8)
    _block(canvas, 0.12, 0.58, 0.88, 0.84, dark)
    for x in (0.02, 0.84):
        _block(canvas, x, 0.48, x + 0.14, 0.88, paint)
    cushion = random_colour(rng)
    for x in rng.uniform(0.2, 0.6, rng.integers(1, 3)):
        _block(canvas, x, low + 0.1, x + 0.18, 0.6, cushion)


def suitcase(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A suitcase with a handle and straps."""
    wide = rng.uniform(0.26, 0.46)
    dark = random_colour(rng, (0, 1), (0, 0.3), (0.1, 0.4))
    _stroke(canvas, [(0.4, 0.2), (0.4, 0.07), (0.6, 0.07), (0.6, 0.2)], 0.05, dark)
    _block(canvas, 0.5 - wide, 0.18, 0.5 + wide, 0.96, paint)
    for x in (0.5 - 0.6 * wide, 0.5 + 0.45 * wide):
        _block(canvas, x, 0.18, x + 0.06, 0.96, dark)


def bottle(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A bottle with a label and a cap."""
    neck, body = rng.uniform(0.06, 0.1), rng.uniform(0.14, 0.24)
    outline = [(0.5 - neck, 0.1), (0.5 + neck, 0.1), (0.5 + neck, 0.3), (0.5 + body, 0.42)]
    outline += [(0.5 + body, 0.98), (0.5 - body, 0.98), (0.5 - body, 0.42), (0.5 - neck, 0.3)]
    _shape(canvas, outline, random_colour(rng))
    _block(canvas, 0.5 - body, 0.52, 0.5 + body, 0.84, paint)
    _block(canvas, 0.5 - neck, 0.03, 0.5 + neck, 0.12, random_colour(rng))


def plant(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A potted plant."""
    for _ in range(rng.integers(6, 12)):
        tip = np.array((rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.5)))
        leaf = random_colour(rng, (0.2, 0.42), (0.5, 0.95), (0.3, 0.85))
        side = np.array((tip[1] - 0.65, 0.5 - tip[0])) * 0.16
        middle = 0.5 * (tip + np.array((0.5, 0.65)))
        _shape(canvas, [(0.5, 0.68), middle + side, tip, middle - side], leaf)
    _shape(canvas, [(0.28, 0.62), (0.72, 0.62), (0.64, 0.98), (0.36, 0.98)], paint)


def cow(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A heavy four-legged animal, head low, with a tail and no antlers."""
    tone = random_colour(rng, (0, 0.15), (0.1, 0.7), (0.2, 0.9))
    for x in (0.2, 0.32, 0.6, 0.7):
        _block(canvas, x, 0.6, x + 0.09, 0.97, scaled(tone, 0.8))
    _oval(canvas, (0.48, 0.5), (0.34, 0.2), paint)
    _oval(canvas, (0.84, 0.5), (0.12, 0.1), tone, angle=30)
    _stroke(canvas, [(0.15, 0.42), (0.06, 0.5), (0.05, 0.7)], 0.03, tone)


def elephant(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """An elephant: a round body, thick legs, an ear and a trunk."""
    grey = random_colour(rng, (0, 1), (0.0, 0.35), (0.3, 0.8))
    for x in (0.14, 0.3, 0.5, 0.62):
        _block(canvas, x, 0.6, x + 0.12, 0.98, scaled(grey, 0.8))
    _oval(canvas, (0.42, 0.42), (0.36, 0.3), grey)
    _oval(canvas, (0.78, 0.34), (0.17, 0.19), grey)
    _stroke(canvas, [(0.9, 0.4), (0.95, 0.6), (0.9, 0.8)], 0.09, grey)
    _oval(canvas, (0.68, 0.36), (0.12, 0.17), paint)


def teddy_bear(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A sitting toy bear."""
    light = random_colour(rng, (0, 1), (0.1, 0.6), (0.6, 1.0))
    spots = ((0.3, 0.16), (0.7, 0.16), (0.22, 0.6), (0.78, 0.6), (0.28, 0.88), (0.72, 0.88))
    for spot in spots:
        _oval(canvas, spot, (0.12, 0.1), paint)
    _oval(canvas, (0.5, 0.66), (0.27, 0.3), paint)
    _oval(canvas, (0.5, 0.28), (0.24, 0.22), paint)
    _oval(canvas, (0.5, 0.34), (0.1, 0.08), light)
    for x in (0.41, 0.59):
        _oval(canvas, (x, 0.24), (0.025, 0.025), (20, 20, 20))


def umbrella(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """An open umbrella."""
    _stroke(canvas, [(0.5, 0.3), (0.5, 0.9), (0.56, 0.96), (0.62, 0.92)], 0.03, (60, 60, 60))
    angle = np.linspace(np.pi, 2 * np.pi, 24)
    dome = np.stack([0.5 + 0.48 * np.cos(angle), 0.46 + 0.42 * np.sin(angle)], -1)
    scallops = [(0.82, 0.41), (0.66, 0.46), (0.5, 0.41), (0.34, 0.46), (0.18, 0.41)]
    _shape(canvas, np.concatenate([dome, scallops]), paint)


def clock(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A clock with two hands."""
    _oval(canvas, (0.5, 0.5), (0.47, 0.47), paint)
    _oval(canvas, (0.5, 0.5), (0.36, 0.36), random_colour(rng, (0, 1), (0, 0.3), (0.8, 1)))
    for length in (0.2, 0.3):
        angle = rng.uniform(0, 2 * np.pi)
        hand = (0.5 + length * np.cos(angle), 0.5 + length * np.sin(angle))
        _stroke(canvas, [(0.5, 0.5), hand], 0.035, (30, 30, 30))


def donut(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A ring with sprinkles; its mask has a hole."""
    size, radius = canvas.shape[0], rng.uniform(0.3, 0.36)
    centre, axes = (0.5 * size, 0.5 * size), (radius * size, radius * size)
    canvas.ellipse(centre, axes, paint, OUTLIER, thickness=round(0.2 * size))
    for _ in range(24):
        angle = rng.uniform(0, 2 * np.pi)
        spot = 0.5 + radius * np.array((np.cos(angle), np.sin(angle)))
        canvas.ellipse(spot * size, (3, 2), random_colour(rng), angle=np.degrees(angle))


def refrigerator(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A tall cabinet with two doors."""
    split, half = rng.uniform(0.3, 0.6), rng.uniform(0.22, 0.34)
    _block(canvas, 0.5 - half, 0.02, 0.5 + half, 0.98, paint)
    line = np.array([(0.5 - half, split), (0.5 + half, split)]) * canvas.shape[0]
    canvas.line(line, 3, (50, 50, 50))
    _stroke(
        canvas, [(0.44 - half / 2, split - 0.2), (0.44 - half / 2, split - 0.04)], 0.03, (70,) * 3
    )


def banana(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A bunch of crescents."""
    angle = np.linspace(0.15 * np.pi, 0.85 * np.pi, 20)
    for shift in np.linspace(0, 0.16, rng.integers(1, 4)):
        outer = np.stack([0.5 + 0.46 * np.cos(angle), 0.1 + shift + 0.66 * np.sin(angle)], -1)
        inner = np.stack([0.5 + 0.4 * np.cos(angle), 0.1 + shift + 0.42 * np.sin(angle)], -1)
        colour = random_colour(rng, (0.1, 0.2), (0.5, 1.0), (0.7, 1.0))
        _shape(canvas, np.concatenate([outer, inner[::-1]]), paint if shift == 0 else colour)


def kite(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A kite with a tail."""
    cross = rng.uniform(0.25, 0.4)
    tail = [(0.5, 0.7), (0.42, 0.8), (0.58, 0.9), (0.48, 0.98)]
    _stroke(canvas, tail, 0.035, random_colour(rng))
    _shape(canvas, [(0.5, 0.02), (0.9, cross), (0.5, 0.74), (0.1, cross)], paint)
    _shape(canvas, [(0.5, 0.02), (0.9, cross), (0.5, cross)], random_colour(rng))


def blob(canvas: Canvas, paint: np.ndarray, rng: np.random.Generator) -> None:
    """A soft toy of no particular shape: a closed curve with random bulges."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = np.full(48, 0.34)
    for wave in range(2, 7):
        radius += rng.normal(0, 0.09 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    radius = radius.clip(0.12, 0.49)
    _shape(canvas, 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1), paint)
    for _ in range(rng.integers(0, 5)):
        spot = rng.uniform(0.36, 0.64, 2)
        _oval(canvas, spot, rng.uniform(0.03, 0.1, 2), random_colour(rng))


# COCO category id, name, painter. `blob` stands in for the toys that COCO does not name.
OBJECT_KINDS: tuple[tuple[int, str, Painter], ...] = (
    (21, "cow", cow),
    (22, "elephant", elephant),
    (28, "umbrella", umbrella),
    (33, "suitcase", suitcase),
    (37, "sports ball", ball),
    (38, "kite", kite),
    (44, "bottle", bottle),
    (52, "banana", banana),
    (60, "donut", donut),
    (62, "chair", chair),
    (63, "couch", couch),
    (64, "potted plant", plant),
    (82, "refrigerator", refrigerator),
    (85, "clock", clock),
    (88, "teddy bear", teddy_bear),
    (91, "toy", blob),
)


def draw_object(painter: Painter, size: int, rng: np.random.Generator) -> Canvas:
    """Draw one object on a square canvas; its labels are 254 on the object, 255 elsewhere."""
    canvas = Canvas(size, size)
    painter(canvas, surface(rng, size), rng)
    return canvas
