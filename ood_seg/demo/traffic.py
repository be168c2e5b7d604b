"""Motor vehicles, drawn as tapered boxes in metres: cars, trucks, buses and motorcycles."""

from __future__ import annotations

import numpy as np

from ood_seg.demo.canvas import front, ground, scaled, side
from ood_seg.demo.stage import LABEL, Stage
from ood_seg.demo.textures import random_colour
from ood_seg.demo.wayside import ground_shadow

TYRE = (36, 34, 34)
GLASS = (92, 80, 66)
Span = tuple[float, float]


def draw_car(stage: Stage, x: float, z: float, *, oncoming: bool = False) -> None:
    """A car along the street whose near end is at `z`, seen from behind or from the front."""
    label, rng = LABEL["car"], stage.rng
    half, length = rng.uniform(0.82, 0.95), rng.uniform(3.7, 4.7)
    belt, roof = rng.uniform(0.8, 0.95), rng.uniform(1.38, 1.65)
    saturation = (0.0, 0.25) if rng.random() < 0.5 else (0.4, 0.85)
    paint = random_colour(rng, (0, 1), saturation, (0.15, 0.95))
    _vehicle_shadow(stage, x, z, half, length)
    for tyre in (x - half, x + half - 0.24):
        stage.face(front(tyre, tyre + 0.24, 0, 0.5, z + 0.1), TYRE, label)
    _box(stage, (x - half, x + half), (0.25, belt), (z, z + length), paint, label)
    flank = _visible_flank(x, half)
    if flank is not None:
        for along in (0.8, length - 0.8):
            _wheel(stage, flank, z + along, 0.32, label)
    ends = (1.1, 0.3) if oncoming else (0.25, 1.1)
    cabin = (z + ends[0], z + length - ends[1])
    inner = half - 0.06
    _box(stage, (x - inner, x + inner), (belt, roof), cabin, scaled(paint, 0.95), label, 0.22)
    _draw_glass(stage, x, inner, (belt + 0.04, roof - 0.1), cabin)
    _draw_face(stage, x, half, belt, z, oncoming)


def draw_truck(stage: Stage, x: float, z: float) -> None:
    """A box truck seen from behind."""
    half, height, _, paint = _draw_long_body(stage, "truck", x, z)
    stage.bar([(x, 0.6, z), (x, height - 0.1, z)], 0.05, scaled(paint, 0.6))
    stage.face(front(x - half, x + half, 0.55, 0.85, z), (52, 50, 50))
    _draw_tail_lamps(stage, x, half, z)


def draw_bus(stage: Stage, x: float, z: float) -> None:
    """A bus seen from behind, with a row of windows along its side."""
    half, height, length, _ = _draw_long_body(stage, "bus", x, z)
    stage.face(front(x - half + 0.2, x + half - 0.2, 1.7, height - 0.35, z), GLASS)
    flank = _visible_flank(x, half)
    if flank is not None:
        for along in np.arange(0.5, length - 1.2, 1.4):
            pane = side(flank, 1.6, height - 0.5, z + along, z + along + 1.15)
            stage.face(pane, scaled(GLASS, 0.85))
    _draw_tail_lamps(stage, x, half, z)


def draw_motorcycle(stage: Stage, x: float, z: float) -> None:
    """A parked motorcycle across the view."""
    label, rng = LABEL["motorcycle"], stage.rng
    paint = random_colour(rng, (0, 1), (0.4, 0.95), (0.3, 0.85))
    ground_shadow(stage, x, z, (0.95, 0.25), 0.5)
    for hub in (-0.62, 0.62):
        stage.disc((x + hub, 0.31, z), 0.31, TYRE, label)
        stage.disc((x + hub, 0.31, z), 0.13, (126, 126, 124), label)
    engine, seat = (70, 68, 66), (44, 42, 44)
    shapes = (
        ([(-0.45, 0.28), (0.4, 0.28), (0.5, 0.6), (-0.35, 0.62)], engine),
        ([(-0.1, 0.6), (0.5, 0.62), (0.42, 0.92), (0.0, 0.88)], paint),
        ([(-0.85, 0.72), (0.0, 0.68), (0.0, 0.82), (-0.85, 0.86)], seat),
        ([(0.42, 0.55), (0.62, 0.31), (0.52, 1.1), (0.4, 1.08)], scaled(paint, 0.8)),
    )
    for points, colour in shapes:
        stage.face([(x + across, up, z) for across, up in points], colour, label)


def _visible_flank(x: float, half: float) -> float | None:
    """Where the side stands that the camera at x = 0 sees; None straight ahead."""
    if abs(x) <= half:
        return None
    return x - half if x > 0 else x + half


def _box(stage: Stage, xs: Span, ys: Span, zs: Span, colour, label: int, taper=0.0) -> None:
    """Side, top and face of a box; `taper` draws its top in, in metres."""
    (x0, x1), (y0, y1), (z0, z1) = xs, ys, zs
    for x, inward, visible in ((x0, taper, x0 > 0), (x1, -taper, x1 < 0)):
        if visible:
            top = [(x + inward, y1, z1 - taper), (x + inward, y1, z0 + taper)]
            stage.face([(x, y0, z0), (x, y0, z1), *top], scaled(colour, 0.72), label)
    near = [(x0 + taper, y1, z0 + taper), (x1 - taper, y1, z0 + taper)]
    far = [(x1 - taper, y1, z1 - taper), (x0 + taper, y1, z1 - taper)]
    if y1 < stage.camera.eye:
        stage.face(near + far, scaled(colour, 1.18), label)
    stage.face([(x1, y0, z0), (x0, y0, z0), *near], colour, label)


def _wheel(stage: Stage, x: float, z: float, radius: float, label: int) -> None:
    """A wheel in the plane of the street, seen from the side."""
    angle = np.linspace(0, 2 * np.pi, 18)
    for size, colour in ((radius, TYRE), (0.5 * radius, (118, 118, 116))):
        up, along = radius + size * np.sin(angle), z + size * np.cos(angle)
        stage.face(np.stack([0 * angle + x, up, along], -1), colour, label)


def _vehicle_shadow(stage: Stage, x: float, z: float, half: float, length: float) -> None:
    area = ground(x - half - 0.2, x + half + 0.2, z - 0.15, z + length)
    blur = 0.06 * stage.camera.pixels_per_metre(z)
    stage.canvas.darken(stage.camera.project(area), 0.42, blur)


def _draw_glass(stage: Stage, x: float, inner: float, ys: Span, cabin: Span) -> None:
    (low, high), (z0, z1) = ys, cabin
    pane = [(x - inner + 0.1, low, z0), (x + inner - 0.1, low, z0)]
    pane += [(x + inner - 0.28, high, z0 + 0.2), (x - inner + 0.28, high, z0 + 0.2)]
    stage.face(pane, GLASS)
    flank, middle = _visible_flank(x, inner), 0.5 * (z0 + z1)
    if flank is None:
        return
    top = flank + (0.2 if x > 0 else -0.2)
    for near, far in ((z0 + 0.25, middle - 0.05), (middle + 0.05, z1 - 0.25)):
        pane = [(flank, low, near), (flank, low, far), (top, high, far), (top, high, near)]
        stage.face(pane, scaled(GLASS, 0.8))


def _draw_face(stage: Stage, x: float, half: float, belt: float, z: float, oncoming: bool) -> None:
    dusk = stage.style.name == "dusk"
    if oncoming:
        lamp = (230, 250, 255) if dusk else (206, 236, 250)
    else:
        lamp = (60, 60, 250) if dusk else (44, 40, 190)
    for edge in (x - half + 0.04, x + half - 0.4):
        stage.face(front(edge, edge + 0.36, belt - 0.3, belt - 0.12, z), lamp)
    stage.face(front(x - half, x + half, 0.25, 0.42, z), (58, 56, 56))
    stage.face(front(x - 0.26, x + 0.26, 0.46, 0.57, z), (224, 226, 226))


def _draw_long_body(stage: Stage, name: str, x: float, z: float):
    label, rng = LABEL[name], stage.rng
    half, length, height = 1.2, rng.uniform(6.5, 9.5), rng.uniform(2.9, 3.4)
    paint = random_colour(rng, (0, 1), (0.05, 0.8), (0.5, 0.95))
    _vehicle_shadow(stage, x, z, half, length)
    for tyre in (x - half + 0.05, x + half - 0.45):
        stage.face(front(tyre, tyre + 0.4, 0, 0.9, z), TYRE, label)
    _box(stage, (x - half, x + half), (0.55, height), (z, z + length), paint, label)
    flank = _visible_flank(x, half)
    if flank is not None:
        for along in (1.6, length - 1.6):
            _wheel(stage, flank, z + along, 0.48, label)
    return half, height, length, paint


def _draw_tail_lamps(stage: Stage, x: float, half: float, z: float) -> None:
    for edge in (x - half + 0.08, x + half - 0.4):
        stage.face(front(edge, edge + 0.32, 0.9, 1.08, z), (44, 40, 200))
