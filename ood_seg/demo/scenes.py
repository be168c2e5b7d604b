"""`draw_scene`: one seeded street scene with Cityscapes trainIds, with or without anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from ood_seg.demo import things
from ood_seg.demo.canvas import Canvas
from ood_seg.demo.objects import ANOMALY_KINDS, cut_out, draw_object
from ood_seg.demo.stage import LABEL, Camera, Stage
from ood_seg.demo.street import draw_street
from ood_seg.demo.textures import Palette, random_colour, smooth_noise
from ood_seg.labels import IGNORE, OUTLIER

# Drawn larger and averaged down, so that edges are smooth in the image and crisp in the labels.
OVERSAMPLING = 2
# Classes with a grained surface, its strength and its size in pixels; others are smooth.
GRAIN = (
    (("road", "sidewalk", "building", "wall"), 0.05, 2.0),
    (("vegetation", "terrain"), 0.15, 1.5),
)
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
        ego_hood: whether the hood of the ego vehicle shows at the bottom, as ignored pixels.

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
    stage = Stage(Canvas(height, width), camera, rng)
    draw_street(stage)
    kinds = tuple(str(kind) for kind in rng.permutation(list(ANOMALY_KINDS))[:anomalies])
    items = [*_wayside(stage, -1), *_wayside(stage, 1), *_anomalies(stage, kinds)]
    items += _traffic(stage, nearest=22 if kinds else 10)
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()
    if ego_hood:
        _draw_hood(stage)
    return _develop(stage, size, kinds)


def _wayside(stage: Stage, sign: int) -> Iterator[Item]:
    """Everything beside the road on the left (`sign` -1) or right (1)."""
    rng, kerb = stage.rng, stage.kerb(sign) + sign * 0.45
    line = stage.house_line(sign) - sign * 0.5

    def item(draw, x: float, z: float) -> Item:
        return z, partial(draw, stage, x, z)

    if rng.random() < 0.6:
        barrier = (things.draw_hedge, things.draw_wall, things.draw_fence)[rng.integers(3)]
        near, far = np.cumsum(rng.uniform(6, 16, 2))
        # By its far end, so that it hides nothing on the road.
        yield far, partial(barrier, stage, line - sign * 0.3, near, far)
    if rng.random() < 0.65:
        for z in np.arange(rng.uniform(7, 14), 70, rng.uniform(6, 12)):
            yield item(things.draw_tree, line - sign * rng.uniform(0, 0.8), z)
    for z in np.arange(rng.uniform(9, 24), 75, rng.uniform(16, 26)):
        yield item(partial(things.draw_pole, carries="lamp"), kerb, z)
    # How many at most, how likely each is, and how far from the kerb and the camera it may stand.
    for draw, count, chance, reach, farthest in (
        (partial(things.draw_pole, carries="traffic sign"), 2, 0.7, 0.3, 24),
        (partial(things.draw_pole, carries="traffic light"), 2, 0.5, 0.3, 24),
        (things.draw_person, 4, 0.5, max(0.5, stage.pavement - 0.6), 30),
        (things.draw_bicycle, 1, 0.45, 1.2, 20),
        (things.draw_motorcycle, 1, 0.3, 1.2, 20),
    ):
        for _ in range(count):
            if rng.random() < chance:
                yield item(draw, kerb + sign * rng.uniform(0, reach), rng.uniform(8, farthest))


def _traffic(stage: Stage, nearest: float) -> Iterator[Item]:
    """Parked cars along both kerbs, and what drives in the two lanes beyond `nearest` metres."""
    rng, (left, right) = stage.rng, stage.road
    vehicle, middle = partial(things.draw_vehicle, stage), 0.5 * (left + right)
    for x, oncoming in ((left + 1.1, True), (right - 1.1, False)):
        z = rng.uniform(7, 16)
        while z < 75:
            if rng.random() < 0.5:
                yield z, partial(vehicle, x + rng.normal(0, 0.08), z, oncoming=oncoming)
            z += rng.uniform(5.5, 9)
    for x in (0.5 * (middle + left) + 0.6, 0.5 * (middle + right) - 0.4):
        if rng.random() < 0.6:
            z = rng.uniform(nearest, 40)
            yield z, partial(vehicle, x, z, name=("car", "truck", "bus")[rng.integers(3)])
    if rng.random() < 0.55:
        x, z = rng.uniform(left + 0.5, right - 0.5), rng.uniform(nearest - 2, 26)
        yield z, partial(things.draw_bicycle, stage, x, z, ridden=True)


def _anomalies(stage: Stage, kinds: tuple[str, ...]) -> Iterator[Item]:
    """Anomalies between the rows of parked cars, each in its own stretch of the road."""
    rng, (left, right) = stage.rng, stage.road
    stretches = np.linspace(6.5, 20, len(kinds) + 1)
    for kind, near, far in zip(kinds, stretches[:-1], stretches[1:], strict=True):
        z = rng.uniform(near, 0.3 * near + 0.7 * far)
        half_view = 0.4 * stage.canvas.shape[1] / stage.camera.pixels_per_metre(z)
        x = rng.uniform(max(left + 2.4, -half_view), min(max(right - 2.6, 0.0), half_view))
        yield z, partial(_draw_anomaly, stage, kind, x, z)


def _draw_anomaly(stage: Stage, kind: str, x: float, z: float) -> None:
    heights, text = ANOMALY_KINDS[kind]
    scale = stage.camera.pixels_per_metre(z)
    height = max(6, round(stage.rng.uniform(*heights) * scale))
    image, mask = cut_out(draw_object(text, 160, stage.rng), height)
    width = mask.shape[1]
    stage.shadow(x, z, 0.6 * width / scale, 0.35, 0.45)
    column, row = stage.camera.project([(x, 0, z)])[0]
    stage.canvas.stamp(image, mask, round(column - width / 2), round(row) - height, OUTLIER)


def _draw_hood(stage: Stage) -> None:
    rng, (height, width) = stage.rng, stage.canvas.shape
    rise = height * rng.uniform(0.05, 0.11)
    column, row = width * rng.uniform(0.46, 0.54), height + 0.25 * rise
    oval = f"{column} {row} {0.55 * width} {1.25 * rise}"
    palette = Palette(rng, hood=(paint := random_colour(rng, "hood")), shine=paint + 34)
    text = f"hood oval {oval}; shine ring 3 {oval}"
    stage.canvas.draw_shapes(text, lambda points: (points, 1, lambda paint: paint), palette, IGNORE)


def _develop(stage: Stage, size: tuple[int, int], kinds: tuple[str, ...]) -> Scene:
    """Average down and add grain, light, blur and sensor noise."""
    rng, (height, width) = stage.rng, size
    labels = np.ascontiguousarray(stage.canvas.labels[::OVERSAMPLING, ::OVERSAMPLING])
    reduced = cv2.resize(stage.canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    image: np.ndarray = reduced.astype(np.float32)
    for names, strength, cell in GRAIN:
        grain = 1 + strength * smooth_noise(rng, height, width, cell)
        grain *= 1 + 0.6 * strength * smooth_noise(rng, height, width, 14)
        is_grained = np.isin(labels, [LABEL[name] for name in names])
        image = image * np.where(is_grained, grain, 1)[..., None]
    falloff = 1 + 0.12 * smooth_noise(rng, height, width, width / 2)
    image = image * stage.light * falloff[..., None]
    image = 118 + rng.uniform(0.85, 1.12) * (image - 118) + rng.uniform(-10, 10)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.75))
    image = blurred + rng.normal(0, rng.uniform(1.5, 5.0), image.shape)
    return Scene(image.clip(0, 255).astype(np.uint8), labels, kinds)
