"""Random colours and surface textures; every function draws from the generator it is given."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Noise (height, width) in about [-1, 1] whose bumps are `cell` pixels wide."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def random_colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0, 1),
    saturation: tuple[float, float] = (0.3, 0.95),
    value: tuple[float, float] = (0.35, 0.95),
) -> tuple[float, float, float]:
    """A BGR colour in 0..255, uniform in the given ranges of hue, saturation and value."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value)
    )
    return 255 * blue, 255 * green, 255 * red


def gradient(top, bottom, height: int, width: int) -> np.ndarray:
    """Image (height, width, 3) uint8 that goes from the colour `top` to `bottom`."""
    weight = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - weight) + np.asarray(bottom, np.float32) * weight
    return np.repeat(column, width, 1).clip(0, 255).astype(np.uint8)


def surface(rng: np.random.Generator, size: int, colour=None) -> np.ndarray:
    """A square texture (size, size, 3) uint8 in one of the styles of the training objects.

    Diagonal stripes and checkers are left out: the evaluation anomalies alone wear them.
    """
    first = np.asarray(random_colour(rng) if colour is None else colour, np.float32)
    second = np.asarray(random_colour(rng), np.float32)
    style = rng.integers(5)
    if style == 0:
        weight = np.zeros((size, size), np.float32)
    elif style == 1:
        weight = np.repeat(np.linspace(0, 1, size, dtype=np.float32)[:, None], size, 1)
    elif style == 2:
        rows = np.arange(size) // max(3, int(size * rng.uniform(0.05, 0.2)))
        weight = np.repeat((rows % 2).astype(np.float32)[:, None], size, 1)
    elif style == 3:
        weight = _dots(rng, size)
    else:
        weight = (smooth_noise(rng, size, size, size * rng.uniform(0.06, 0.25)) > 0.1).astype(
            np.float32
        )
    mixed = first * (1 - weight[..., None]) + second * weight[..., None]
    grain = 1 + rng.uniform(0.03, 0.15) * smooth_noise(rng, size, size, rng.uniform(2, 8))
    return (mixed * grain[..., None]).clip(0, 255).astype(np.uint8)


def _dots(rng: np.random.Generator, size: int) -> np.ndarray:
    weight = np.zeros((size, size), np.float32)
    step = max(6, int(size * rng.uniform(0.1, 0.25)))
    for y in range(step // 2, size, step):
        for x in range(step // 2, size, step):
            cv2.circle(weight, (x, y), step // 3, 1.0, -1)
    return weight


def checker(size: int, cells: int, first, second) -> np.ndarray:
    """A checkered square texture with `cells` fields along each edge."""
    index = np.arange(size) * cells // size
    weight = ((index[:, None] + index[None, :]) % 2)[..., None]
    return np.where(weight == 0, np.float32(first), np.float32(second)).astype(np.uint8)


def diagonal_stripes(size: int, stripes: float, first, second) -> np.ndarray:
    """A square texture of diagonal stripes."""
    index = np.arange(size)
    weight = (((index[:, None] + index[None, :]) * stripes / size).astype(int) % 2)[..., None]
    return np.where(weight == 0, np.float32(first), np.float32(second)).astype(np.uint8)


def shading(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Light falling on an object: factors (height, width, 1), about 0.65 to 1.2."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    factor = 0.97 + rng.uniform(-0.2, 0.2) * x - rng.uniform(0.02, 0.2) * y
    return factor[..., None]
