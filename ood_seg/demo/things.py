"""What stands and moves in the street: people, vehicles, trees, barriers, poles and signs.

Every `draw_` function draws one thing whose near end is at (x, z) metres. Texts that are constants
are in centimetres.
"""

from __future__ import annotations

import numpy as np

from ood_seg.demo.stage import ACROSS, ALONG, UP, Stage
from ood_seg.demo.textures import random_colour

_WALKING = "trousers poly -13 85 13 85 {0} 0 {1} 0; trousers poly -13 85 13 85 -{1} 0 -{0} 0;"
_SEATED = "trousers poly -15 85 15 85 30 44 12 40;"
_TORSO = """top*.8 poly -18 136 -27 134 {2} 78 -35 78; top*.8 poly 18 136 27 134 42 78 30 78;
    top poly -19 78 19 78 24 138 -24 138; skin box -5 136 5 148; skin oval 0 158 11 14;
    hair oval 0 165 11 9"""
_BICYCLE = """none oval -52 34 34 34; none oval 52 34 34 34; black ring 7 -52 34 34 34;
    black ring 7 52 34 34 34; frame line 7 -52 34 -15 75 38 75 0 34 -52 34;
    frame line 7 0 34 -18 92; frame line 7 52 34 36 98 50 102; black line 8 -30 93 -6 93"""
_MOTORCYCLE = """black oval -62 31 31 31; black oval 62 31 31 31; grey oval -62 31 13 13;
    grey oval 62 31 13 13; black*1.8 poly -45 28 40 28 50 60 -35 62;
    frame poly -10 60 50 62 42 92 0 88; black poly -85 72 0 68 0 82 -85 86;
    frame*.8 poly 42 55 62 31 52 110 40 108"""
# The end of a car 88 cm to both sides and 87 cm high.
_BUMPER = """{0} box -84 57 -48 75; {0} box 48 57 84 75; black*1.6 box -88 25 88 42;
    white box -26 46 26 57"""
# In percent of their height and, for the side, length.
_WINDSCREEN = "paint poly -82 0 82 0 62 100 -62 100; glass poly -72 8 72 8 54 80 -54 80"
_CABIN_SIDE = """paint*.72 poly 0 0 100 0 93 100 7 100; glass*.8 poly 8 8 47 8 47 80 13 80;
    glass*.8 poly 53 8 92 8 87 80 53 80"""
_SIGNS = (
    "red oval 0 0 45 45; white oval 0 0 32 32; black*2 box -18 -5 18 7",
    "red poly 0 50 -44 -25 44 -25; white poly 0 33 -28 -16 28 -16; black*2 box -14 -9 14 1",
    "white poly 0 48 -48 0 0 -48 48 0; yellow poly 0 36 -36 0 0 -36 36 0; black*2 box -18 -5 18 7",
    "white box -34 -34 34 34; blue box -28 -28 28 28; white box -18 -5 18 7",
    "blue oval 0 0 45 45; white box -18 -5 18 7",
)


def draw_person(stage: Stage, x: float, z: float, *, name: str = "person", y: float = 0) -> None:
    """A walking person, or a rider who sits `y` metres higher."""
    rng, is_rider = stage.rng, name == "rider"
    if not is_rider:
        stage.shadow(x, z, 0.4, 0.25, 0.55)
    step, tall = rng.uniform(8, 30), rng.uniform(0.88, 1.12)
    text = (_SEATED if is_rider else _WALKING) + _TORSO
    text = text.format(step + 10, step - 7, rng.uniform(-53, -37))
    stage.board(text, name, x, z, y=y, wide=tall * rng.choice([-1, 1]), tall=tall)


def draw_bicycle(stage: Stage, x: float, z: float, *, ridden: bool = False) -> None:
    """A bicycle across the view; its wheels count as filled, as in Cityscapes."""
    stage.shadow(x, z, 0.8, 0.15, 0.6)
    stage.board(_BICYCLE, "bicycle", x, z)
    if ridden:
        draw_person(stage, x - 0.1, z, name="rider", y=0.18)


def draw_motorcycle(stage: Stage, x: float, z: float) -> None:
    """A parked motorcycle across the view."""
    stage.shadow(x, z, 0.95, 0.25, 0.5)
    stage.board(_MOTORCYCLE, "motorcycle", x, z, wide=stage.rng.choice([-1, 1]))


def draw_vehicle(
    stage: Stage, x: float, z: float, *, name: str = "car", oncoming: bool = False
) -> None:
    """A car, truck or bus along the street, from behind or, if `oncoming`, from the front."""
    rng, is_car = stage.rng, name == "car"
    half, length = (0.88, rng.uniform(3.7, 4.7)) if is_car else (1.2, rng.uniform(6.5, 9.5))
    low, high = (0.25, rng.uniform(0.8, 0.95)) if is_car else (0.55, rng.uniform(2.9, 3.4))
    paint, hub = random_colour(rng, name), low + 0.07
    shadow = stage.ground(x - half - 0.2, x + half + 0.2, z - 0.15, z + length)
    stage.canvas.darken(shadow, 0.42, 0.06 * stage.camera.pixels_per_metre(z))
    for tyre in (-half, half - 0.3):
        stage.draw(f"black box {tyre} 0 {tyre + 0.3} {low + 0.3}", name, (x, 0, z + 0.1))
    if abs(x) > half:  # the side that the camera at x = 0 sees
        side = f"paint*.72 box 0 {low} {length} {high};"
        for at in (0.22 * length, 0.8 * length):
            side += f"black oval {at} {hub} {hub} {hub}; grey oval {at} {hub} {hub / 2} {hub / 2};"
        for pane in np.arange(0.5, length - 1.2, 1.4) if name == "bus" else ():
            side += f"glass*.85 box {pane} 1.6 {pane + 1.15} {high - 0.5};"
        stage.draw(side, name, (x - np.sign(x) * half, 0, z), u=ALONG, paint=paint)
    if high < stage.camera.eye:
        bonnet = f"paint*1.18 box {-half} 0 {half} {length}"
        stage.draw(bonnet, name, (x, high, z), v=ALONG, paint=paint)
    if is_car:
        near, far = (1.1, 0.3) if oncoming else (0.25, 1.1)
        _draw_cabin(stage, (x, high, z + near), length - near - far, paint)
    end = f"paint box {-half} {low} {half} {high};"
    if name == "bus":
        end += f"glass box {0.2 - half} 1.7 {half - 0.2} {high - 0.35}"
    elif name == "truck":
        end += f"paint*.6 line .05 0 .6 0 {high - 0.1}"
    stage.draw(end, name, (x, 0, z), paint=paint)
    lamp = ("bulb" if oncoming else "red") + ("*1.3" if stage.weather == "dusk" else "*.95")
    tall = high / 0.87 if is_car else 1.5
    stage.board(_BUMPER.format(lamp), name, x, z, wide=half / 0.88, tall=tall)


def _draw_cabin(stage: Stage, origin, length: float, paint: np.ndarray) -> None:
    """The upper part of a car with its windows, from its lower front edge."""
    (x, y, z), tall = origin, stage.rng.uniform(0.5, 0.7)
    if abs(x) > 0.82:
        u, v = 0.01 * length * ALONG, 0.01 * tall * UP + 0.002 * np.sign(x) * ACROSS
        flank = (x - 0.82 * np.sign(x), y, z)
        stage.draw(_CABIN_SIDE, "car", flank, u, v, paint=paint)
    if y + tall < stage.camera.eye:
        roof = f"paint*1.18 box -.62 .22 .62 {length - 0.22}"
        stage.draw(roof, "car", (x, y + tall, z), v=ALONG, paint=paint)
    v = 0.01 * tall * UP + 0.0022 * ALONG
    stage.draw(_WINDSCREEN, "car", origin, 0.01 * ACROSS, v, paint=paint * 0.95)


def draw_tree(stage: Stage, x: float, z: float) -> None:
    """A trunk under a crown of overlapping leaf clusters, rarely in autumn colours."""
    rng = stage.rng
    trunk, crown = rng.uniform(180, 300), rng.uniform(120, 240)
    stage.shadow(x, z, 0.007 * crown, 0.8, 0.78)
    leaf, oval = "autumn" if rng.random() < 0.12 else "leaf", f"9 0 {trunk + crown} {crown} {crown}"
    text = "bark box -17 0 17 {0}; {1}*.9 cloud 16 {2} {4}; {1} cloud 34 {3} {4}"
    text = text.format(trunk + 80, leaf, 0.42 * crown, 0.24 * crown, oval)
    stage.board(text, "vegetation", x, z, wide=0.95, tall=0.95)


def draw_hedge(stage: Stage, x: float, z0: float, z1: float) -> None:
    """A hedge along the street, lighter at its top."""
    top, green = stage.rng.uniform(0.8, 1.8), random_colour(stage.rng, "hedge")
    for z in np.arange(z1, z0, -0.45):
        levels = np.arange(0.2, top, 0.4)
        parts = (f"green*{0.7 + 0.35 * y / top} cloud 1 .38 9 0 {y} .1 .1" for y in levels)
        stage.draw(";".join(parts), "vegetation", (x, 0, z), green=green)


def draw_wall(stage: Stage, x: float, z0: float, z1: float) -> None:
    """A free-standing wall of courses under a cap."""
    height, end = stage.rng.uniform(1.6, 2.8), z1 - z0
    text = f"wall box 0 0 {end} {height}; wall*1.2 box 0 {height - 0.12} {end} {height}"
    for y in np.arange(0.3, height - 0.12, 0.3):
        text += f"; wall*.8 line .02 0 {y} {end} {y}"
    stage.draw(text, "wall", (x, 0, z0), u=ALONG)


def draw_fence(stage: Stage, x: float, z0: float, z1: float) -> None:
    """Slats on two rails; what shows through the gaps is fence too, as in Cityscapes."""
    height, end = stage.rng.uniform(1.0, 1.9), z1 - z0
    corners = [(x, 0.05, z0), (x, 0.05, z1), (x, height, z1), (x, height, z0)]
    stage.canvas.darken(stage.camera.project(corners), 0.72)
    text = f"none box 0 .05 {end} {height}"
    for z in np.arange(end, 0, -stage.rng.uniform(0.25, 0.5)):
        text += f"; fence line .09 {z} .05 {z} {height}"
    for y in (0.3 * height, 0.92 * height):
        text += f"; fence*.9 box 0 {y} {end} {y + 0.1}"
    stage.draw(text, "fence", (x, 0, z0), u=ALONG)


def draw_pole(stage: Stage, x: float, z: float, *, carries: str) -> None:
    """A pole that carries a street lamp, a traffic light or a traffic sign."""
    rng = stage.rng
    bounds = {"lamp": (5.5, 8), "traffic light": (2.5, 3.6), "traffic sign": (2.1, 2.8)}
    height = rng.uniform(*bounds[carries])
    stage.shadow(x, z, 0.3, 0.3, 0.8)
    half = max(7, 90 / stage.camera.pixels_per_metre(z))
    pole = "grey box -1 0 1 100; grey*1.25 box -1 0 -.3 100"
    stage.board(pole, "pole", x, z, wide=half, tall=height)
    if carries == "lamp":  # on an arm over the road
        text = "grey line 12 0 0 100 25; bulb oval 100 25 30 13"
        stage.board(text, "pole", x, z, y=height, wide=-np.sign(x) * rng.uniform(0.8, 1.8))
    elif carries == "traffic sign":
        size, text = rng.uniform(0.8, 1.15), _SIGNS[rng.integers(len(_SIGNS))]
        stage.board(text, carries, x, z, y=height, wide=size, tall=size)
    else:
        lit, text = rng.integers(3), "black box -22 -15 22 90"
        for index, name in enumerate(("green", "amber", "red")):
            text += f"; {name}*{1 if index == lit else 0.3} oval 0 {6 + 31 * index} 13 13"
        stage.board(text, carries, x, z, y=height)
