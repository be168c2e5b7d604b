"""`draw_scene`: one seeded street scene with Cityscapes trainIds, with or without anomalies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from ood_seg.demo import people, street, traffic, wayside
from ood_seg.demo.anomalies import ANOMALY_KINDS, draw_anomaly
from ood_seg.demo.canvas import Camera, Canvas
from ood_seg.demo.stage import LABEL, Stage, sample_street, sample_style
from ood_seg.demo.textures import random_colour, smooth_noise
from ood_seg.labels import IGNORE

# Drawn larger and averaged down, so that edges are smooth in the image and crisp in the labels.
OVERSAMPLING = 2
# Strength and size (pixels) of the surface grain of each class; other classes are smooth.
GRAIN = {
    "road": (0.05, 1.5),
    "sidewalk": (0.05, 2.0),
    "building": (0.05, 3.0),
    "wall": (0.07, 2.0),
    "vegetation": (0.16, 1.5),
    "terrain": (0.13, 1.5),
}
# One thing to draw: its distance, by which things are sorted, and how to draw it.
Item = tuple[float, Callable[[], None]]


@dataclass(frozen=True)
class Scene:
    """A drawn street.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8: Cityscapes trainIds, 254 on anomalies, 255 on the ego vehicle.
        anomalies: kinds drawn into it.
    """

    image: np.ndarray
    labels: np.ndarray
    anomalies: tuple[str, ...]


def draw_scene(
    rng: np.random.Generator,
    size: tuple[int, int] = (160, 320),
    *,
    anomalies: int = 0,
    ego_hood: bool = True,
) -> Scene:
    """Draw a street scene.

    Args:
        rng: source of all randomness; the same state gives the same bytes.
        size: height and width in pixels.
        anomalies: how many anomalous objects stand on the road, at most one of each kind.
        ego_hood: whether the hood of the own car shows at the bottom, as void.

    Returns:
        The scene.
    """
    height, width = (OVERSAMPLING * edge for edge in size)
    camera = Camera(
        focal=width * rng.uniform(0.72, 0.95),
        centre_x=width * rng.uniform(0.4, 0.6),
        horizon=height * rng.uniform(0.38, 0.5),
        eye=rng.uniform(1.25, 1.9),
    )
    stage = Stage(Canvas(height, width), camera, sample_street(rng), sample_style(rng), rng)
    street.draw_sky(stage)
    street.draw_ground(stage)
    street.draw_skyline(stage)
    street.draw_houses(stage)
    _cast_house_shadow(stage)
    kinds = tuple(str(kind) for kind in rng.permutation(list(ANOMALY_KINDS))[:anomalies])
    items = [*_wayside(stage, -1), *_wayside(stage, 1)]
    items += [*_traffic(stage, nearest=22 if kinds else 10), *_anomalies(stage, kinds)]
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if ego_hood:
        _draw_hood(stage)
    return _develop(stage, size, kinds)


def _cast_house_shadow(stage: Stage) -> None:
    rng = stage.rng
    if stage.style.name != "day" or rng.random() < 0.4:
        return
    sign = int(rng.choice([-1, 1]))
    edge = stage.street.house_line(sign)
    reach = edge - sign * rng.uniform(2, 7)
    corners = [(edge, 0, 2.0), (reach, 0, 2.0), (reach, 0, 70), (edge, 0, 70)]
    stage.canvas.darken(stage.camera.project(corners), rng.uniform(0.6, 0.78), 1.0)


def _wayside(stage: Stage, sign: int) -> list[Item]:
    """Everything beside the road on the left (`sign` -1) or right (1)."""
    rng, items = stage.rng, []
    kerb = (stage.street.left if sign < 0 else stage.street.right) + sign * 0.45
    line = stage.street.house_line(sign) - sign * 0.5

    def add(draw, x: float, z: float, *more: float) -> None:
        items.append((z, partial(draw, stage, x, z, *more)))

    if rng.random() < 0.6:
        barriers = (wayside.draw_hedge, wayside.draw_wall, wayside.draw_fence)
        z = rng.uniform(6, 16)
        add(barriers[rng.integers(3)], line - sign * 0.3, z, z + rng.uniform(6, 16))
    if rng.random() < 0.65:
        for z in np.arange(rng.uniform(7, 14), 70, rng.uniform(6, 12)):
            add(wayside.draw_tree, line - sign * rng.uniform(0, 0.8), z)
    for z in np.arange(rng.uniform(9, 24), 75, rng.uniform(16, 26)):
        add(wayside.draw_lamp, kerb, z)
    for draw, chance in ((wayside.draw_sign, 0.7), (wayside.draw_traffic_light, 0.5)):
        for _ in range(2):
            if rng.random() < chance:
                add(draw, kerb + sign * rng.uniform(0, 0.3), rng.uniform(8, 24))
    for _ in range(rng.integers(0, 5)):
        reach = rng.uniform(0.3, max(0.5, stage.street.pavement - 0.6))
        add(people.draw_person, kerb + sign * reach, rng.uniform(7, 30))
    for draw, chance in ((people.draw_bicycle, 0.45), (traffic.draw_motorcycle, 0.3)):
        if rng.random() < chance:
            add(draw, kerb + sign * rng.uniform(0.2, 1.2), rng.uniform(8, 20))
    return items


def _traffic(stage: Stage, nearest: float) -> list[Item]:
    """Parked cars along both kerbs, and what drives in the two lanes beyond `nearest` metres."""
    rng, items = stage.rng, []
    left, right = stage.street.left, stage.street.right
    middle = 0.5 * (left + right)
    for x, oncoming in ((left + 1.1, True), (right - 1.1, False)):
        z = rng.uniform(7, 16)
        while z < 75:
            if rng.random() < 0.5:
                across = x + rng.normal(0, 0.08)
                items.append((z, partial(traffic.draw_car, stage, across, z, oncoming=oncoming)))
            z += rng.uniform(5.5, 9)
    vehicles = (traffic.draw_car, traffic.draw_truck, traffic.draw_bus)
    for x in (0.5 * (middle + left) + 0.6, 0.5 * (middle + right) - 0.4):
        if rng.random() < 0.6:
            z = rng.uniform(nearest, 40)
            items.append((z, partial(vehicles[rng.integers(3)], stage, x, z)))
    if rng.random() < 0.55:
        x, z = rng.uniform(left + 0.5, right - 0.5), rng.uniform(nearest - 2, 26)
        items.append((z, partial(people.draw_rider, stage, x, z)))
    return items


def _anomalies(stage: Stage, kinds: tuple[str, ...]) -> list[Item]:
    """Anomalies between the rows of parked cars, each in its own stretch of the road."""
    rng, items = stage.rng, []
    stretches = np.linspace(6.5, 20, len(kinds) + 1)
    for kind, near, far in zip(kinds, stretches[:-1], stretches[1:], strict=True):
        z = rng.uniform(near, 0.3 * near + 0.7 * far)
        half_view = 0.4 * stage.canvas.shape[1] / stage.camera.pixels_per_metre(z)
        left = max(stage.street.left + 2.4, -half_view)
        right = min(max(stage.street.right - 2.6, 0.0), half_view)
        items.append((z, partial(draw_anomaly, stage, kind, rng.uniform(left, right), z)))
    return items


def _draw_hood(stage: Stage) -> None:
    rng, (height, width) = stage.rng, stage.canvas.shape
    paint = random_colour(rng, (0.5, 0.7), (0.0, 0.4), (0.1, 0.3))
    rise = height * rng.uniform(0.05, 0.11)
    centre = (width * rng.uniform(0.46, 0.54), height + 0.25 * rise)
    axes = (0.55 * width, 1.25 * rise)
    stage.canvas.ellipse(centre, axes, paint, IGNORE)
    shine = tuple(value + 34 for value in paint)
    stage.canvas.ellipse((centre[0], centre[1] + 2), axes, shine, thickness=3)


def _develop(stage: Stage, size: tuple[int, int], kinds: tuple[str, ...]) -> Scene:
    """Average down and add grain, light, blur and sensor noise."""
    rng, (height, width) = stage.rng, size
    labels = np.ascontiguousarray(stage.canvas.labels[::OVERSAMPLING, ::OVERSAMPLING])
    image = cv2.resize(stage.canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    image = image.astype(np.float32)
    for name, (strength, cell) in GRAIN.items():
        grain = 1 + strength * smooth_noise(rng, height, width, cell)
        blotches = 1 + 0.6 * strength * smooth_noise(rng, height, width, 14)
        factor = np.where(labels == LABEL[name], grain * blotches, 1)
        image *= factor[..., None]
    falloff = 1 + 0.12 * smooth_noise(rng, height, width, width / 2)
    image *= np.asarray(stage.style.light, np.float32) * falloff[..., None]
    contrast = rng.uniform(0.85, 1.12)
    image = 118 + contrast * (image - 118) + rng.uniform(-10, 10)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.75))
    image += rng.normal(0, rng.uniform(1.5, 5.0), image.shape)
    return Scene(image.clip(0, 255).astype(np.uint8), labels, kinds)
