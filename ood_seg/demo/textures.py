"""Random colours and textures; every function draws from the generator that it is given."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

# Name, then ranges of hue, saturation and value in percent.
_RANGES = """
any 0 100 30 95 35 95; pale 0 100 0 30 40 95; dark 0 100 0 30 10 40; signal 0 100 50 100 60 100;
black 0 100 0 10 9 17; grey 10 70 0 5 35 50; white 10 20 0 3 88 94; red 97 103 80 95 75 95;
orange 2 7 85 100 85 100; amber 11 13 77 82 92 98; yellow 13 15 80 85 92 98; lit 9 11 50 58 90 96;
green 32 36 68 74 74 82; blue 57 60 78 84 66 72; bulb 10 14 4 20 86 100; glass 55 60 24 32 34 38;
car 0 100 0 85 15 95; bus 0 100 5 80 50 95; truck 0 100 5 80 50 95; frame 0 100 40 95 35 90;
top 0 100 5 90 15 95; trousers 50 72 5 50 12 50; skin 5 9 30 55 30 90; hair 2 12 20 70 8 60;
grass 20 32 35 60 40 58; hedge 22 34 35 65 26 44; leaf 20 36 35 70 30 52; autumn 5 13 50 80 45 70;
bark 5 10 20 40 22 38; pavement 2 14 3 16 56 72; asphalt 55 72 2 14 32 46; facade 0 15 8 50 45 90;
roof 0 8 20 60 25 50; wall 2 12 5 35 45 68; fence 5 40 5 40 30 85; hood 50 70 0 40 10 30;
table 0 15 5 50 30 80; wood 3 12 20 80 25 80; hide 0 15 10 70 20 90; coat 5 9 45 70 40 68;
rock 3 12 10 40 40 80; gold 10 16 60 100 85 100; window 56 59 22 50 25 55; cover 5 8 4 8 23 25
"""
COLOURS = {
    name: np.reshape(ranges, (3, 2)).astype(float) / 100
    for name, *ranges in (entry.split() for entry in _RANGES.split(";"))
}


def random_colour(rng: np.random.Generator, name: str = "any") -> np.ndarray:
    """A BGR colour (3,) in 0..255, uniform in the ranges of `COLOURS[name]`."""
    low, high = COLOURS[name].T
    hue, saturation, value = np.asarray(rng.uniform(low, high))
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))[::-1]


class Palette(dict):
    """Colours (3,) by name, or textures (H, W, 3) for a canvas of that size.

    A missing name is sampled from `COLOURS` when it is first used; `NAME*F` is F times as bright.
    """

    def __init__(self, rng: np.random.Generator, **paints: np.ndarray) -> None:
        super().__init__(paints)
        self.rng = rng

    def __missing__(self, name: str) -> np.ndarray:
        base, _, factor = name.partition("*")
        self[name] = self[base] * float(factor) if factor else random_colour(self.rng, base)
        return self[name]


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: float) -> np.ndarray:
    """Noise (height, width) in about [-1, 1] whose bumps are `cell` pixels wide."""
    rows, columns = max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def blend(first, second, weight: np.ndarray) -> np.ndarray:
    """Image (H, W, 3) of two colours: the first where `weight` (H, W) is 0, else the second."""
    weight = np.asarray(weight, np.float32)[..., None]
    return np.float32(first) * (1 - weight) + np.float32(second) * weight


def gradient(top, bottom, height: int, width: int) -> np.ndarray:
    """Image (height, width, 3) that goes from the colour `top` to `bottom`."""
    return blend(top, bottom, np.repeat(np.linspace(0, 1, height)[:, None], width, 1))


def surface(rng: np.random.Generator, size: int) -> np.ndarray:
    """Texture (size, size, 3) of a training object: plain, graded, striped, dotted or patched.

    Diagonal stripes and checkers (`pattern`) are left to the evaluation anomalies.
    """
    y, x = np.mgrid[:size, :size] / size
    step = rng.uniform(0.1, 0.25)
    dots = np.hypot(x % step - step / 2, y % step - step / 2) < step / 3
    patches = smooth_noise(rng, size, size, size * rng.uniform(0.06, 0.25)) > 0.1
    weight = (0 * y, y, y // step % 2, dots, patches)[rng.integers(5)]
    grain = 1 + rng.uniform(0.03, 0.15) * smooth_noise(rng, size, size, rng.uniform(2, 8))
    return blend(random_colour(rng), random_colour(rng), weight) * grain[..., None]


def pattern(size: int, cells: float, first, second, *, diagonal: bool) -> np.ndarray:
    """Texture (size, size, 3) of `cells` fields along each edge: a checker or diagonal stripes."""
    y, x = np.mgrid[:size, :size] * cells / size
    return blend(first, second, ((x + y) if diagonal else x.astype(int) + y.astype(int)) // 1 % 2)


def shading(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Light on an object: factors (height, width, 1), about 0.65 to 1.2."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (0.97 + rng.uniform(-0.2, 0.2) * x - rng.uniform(0.02, 0.2) * y)[..., None]
