"""The fixed part of a drawn scene: sky, ground, markings, skyline and the houses."""

from __future__ import annotations

import itertools

import numpy as np

from ood_seg.demo.stage import ALONG, LABEL, Stage
from ood_seg.demo.textures import gradient, random_colour, smooth_noise

NEAREST, FARTHEST = 2.0, 130.0
_ORIGIN = (0, 0, 0)


def draw_street(stage: Stage) -> None:
    """Draw everything behind the things that stand in the street."""
    _draw_sky(stage)
    _draw_ground(stage)
    _draw_markings(stage)
    _draw_skyline(stage)
    for sign in (-1, 1):
        _draw_houses(stage, sign)
    if stage.weather == "day" and stage.rng.random() < 0.6:  # the shadow of a row of houses
        sign = int(stage.rng.choice([-1, 1]))
        edge = stage.house_line(sign)
        area = stage.ground(edge, edge - sign * stage.rng.uniform(2, 7), NEAREST, 70)
        stage.canvas.darken(area, stage.rng.uniform(0.6, 0.78), 1.0)


def _draw_sky(stage: Stage) -> None:
    canvas, rng, width = stage.canvas, stage.rng, stage.canvas.shape[1]
    rows = max(4, int(stage.camera.horizon) + 4)
    clouds = smooth_noise(rng, rows, width, width / 5)
    clouds += 0.5 * smooth_noise(rng, rows, width, width / 16)
    amount = (clouds - rng.uniform(0, 0.8)).clip(0, 1)[..., None] * rng.uniform(0.3, 0.9)
    above, below = stage.sky
    sky = gradient(above, below, rows, width) * (1 - amount) + 1.04 * below * amount
    canvas.image[:rows] = sky.clip(0, 255)
    canvas.labels[:] = LABEL["sky"]


def _draw_ground(stage: Stage) -> None:
    """Grass, sidewalks with their slabs, kerbs and the road, from the horizon to the camera."""
    rng, (left, right), wide = stage.rng, stage.road, stage.pavement
    grass, stone = random_colour(rng, "grass"), random_colour(rng, "pavement")
    top = int(stage.camera.horizon)
    below = stage.canvas.image[top:]
    below[:] = gradient(stage.faded(grass, FARTHEST), grass, *below.shape[:2]).clip(0, 255)
    stage.canvas.labels[top:] = LABEL["terrain"]
    text = ""
    # Pieces in depth let the haze grade the colour.
    for z0, z1 in itertools.pairwise(np.geomspace(NEAREST, FARTHEST, 9)):
        text += f"stone box {left - wide} {z0} {right + wide} {z1};"
        text += f"stone*1.18 box {left - 0.18} {z0} {right + 0.18} {z1};"
    for z in np.arange(4, 28, rng.uniform(1.0, 2.2)):
        text += f"stone*.82 line .02 {left - wide} {z} {left - 0.2} {z};"
        text += f"stone*.82 line .02 {right + 0.2} {z} {right + wide} {z};"
    stage.draw(text, "sidewalk", _ORIGIN, v=ALONG, stone=stone)
    pieces = itertools.pairwise(np.geomspace(NEAREST, FARTHEST, 9))
    text = ";".join(f"asphalt box {left} {z0} {right} {z1}" for z0, z1 in pieces)
    stage.draw(text, "road", _ORIGIN, v=ALONG)


def _draw_markings(stage: Stage) -> None:
    rng, (left, right) = stage.rng, stage.road
    middle = 0.5 * (left + right) + rng.uniform(-0.5, 0.5)
    dash, gap = rng.uniform(2, 4), rng.uniform(2.5, 5)
    starts = np.arange(NEAREST + rng.uniform(-dash, 0), 90, dash + gap)
    stripes = [(middle - 0.08, max(z, NEAREST), middle + 0.08, z + dash) for z in starts]
    if rng.random() < 0.5:
        stripes += [(x, NEAREST, x + 0.13, FARTHEST) for x in (left + 0.42, right - 0.55)]
    if rng.random() < 0.3:  # a crossing
        z = rng.uniform(9, 24)
        stripes += [(x, z, x + 0.5, z + 2.5) for x in np.arange(left + 0.4, right - 0.6, 1.0)]
    text = ";".join("white*.9 box {} {} {} {}".format(*stripe) for stripe in stripes)
    for _ in range(rng.integers(0, 3)):
        manhole = f"{rng.uniform(left + 1, right - 1)} {rng.uniform(6, 20)} .35 .35"
        text += f"; cover oval {manhole}; cover*1.5 ring .03 {manhole}"
    stage.draw(text, "road", _ORIGIN, v=ALONG)


def _draw_skyline(stage: Stage) -> None:
    """Far houses and trees that close the street at the horizon."""
    rng, x = stage.rng, -55.0
    while x < 60:
        width, z = rng.uniform(5, 14), rng.uniform(100, FARTHEST)
        if rng.random() < 0.55:
            block = f"facade*.85 box 0 0 {width} {rng.uniform(6, 17)}"
            stage.draw(block, "building", (x, 0, z))
        else:
            trees = f"leaf cloud 14 2.6 8 {width / 2} 3.5 {width / 2} 3.3"
            stage.draw(trees, "vegetation", (x, 0, z))
        x += width * rng.uniform(0.6, 1.1)


def _draw_houses(stage: Stage, sign: int) -> None:
    """A row of houses on one side, far ones first; here and there a gap."""
    rng, plots, z, gaps = stage.rng, [], stage.rng.uniform(4, 9), stage.rng.uniform(0, 0.4)
    while z < 110:
        length = rng.uniform(7, 17)
        if rng.random() > gaps:
            plots.append((z, length))
        z += length + (rng.uniform(1, 4) if rng.random() < 0.3 else 0)
    for z, length in reversed(plots):
        origin = (stage.house_line(sign) + sign * rng.uniform(0, 0.8), 0, z)
        height, wall = rng.uniform(6, 17), random_colour(rng, "facade")
        gable = f"wall*.68 box 0 0 {14 * sign} {height}"
        stage.draw(gable, "building", origin, wall=wall)
        facade = f"wall*{rng.uniform(0.8, 1.1)} box 0 0 {length} {height};"
        facade += f"wall*.6 box 0 0 {length} {rng.uniform(0.4, 1.0)};"
        facade += f"roof box 0 {height - rng.uniform(0.3, 0.9)} {length} {height};"
        facade += _windows(stage, z, length, height)
        stage.draw(facade, "building", origin, u=ALONG, wall=wall)


def _windows(stage: Stage, start: float, length: float, height: float) -> str:
    """Shapes of the windows of a facade that begins at the distance `start`."""
    rng, text = stage.rng, ""
    storey, bay, frame = rng.uniform(2.7, 3.4), rng.uniform(1.8, 3.2), rng.choice([0.55, 1.3])
    tall, wide = rng.uniform(1.1, 1.8), rng.uniform(0.8, 0.62 * bay)
    columns = np.arange(0.6, length - wide - 0.2, bay)
    for y, z in itertools.product(np.arange(0.9, height - 2.2, storey), columns):
        pixels = stage.camera.pixels_per_metre(start + z)
        if pixels * wide > 5:
            text += f"wall*{frame} box {z - 0.12} {y - 0.12} {z + wide + 0.12} {y + tall + 0.12};"
        if pixels * tall >= 2:
            is_lit = stage.weather == "dusk" and rng.random() < 0.35
            glass = "lit" if is_lit else f"glass*{rng.uniform(0.6, 1.5):.1f}"
            text += f"{glass} box {z} {y} {z + wide} {y + tall};"
    return text
