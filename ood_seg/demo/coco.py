"""Drawn COCO pictures: a plain background, one to three objects, and their exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ood_seg.demo.canvas import Camera, Canvas
from ood_seg.demo.objects import OBJECT_KINDS, draw_object
from ood_seg.demo.people import draw_bicycle, draw_person
from ood_seg.demo.stage import Stage, sample_street, sample_style
from ood_seg.demo.textures import gradient, random_colour, shading, smooth_noise
from ood_seg.demo.traffic import draw_car
from ood_seg.labels import IGNORE

PICTURE_SIZE = (180, 240)
# What Cityscapes labels as well and outlier sources must leave out: drawn as in the scenes.
KNOWN_KINDS = ((1, "person", draw_person), (2, "bicycle", draw_bicycle), (3, "car", draw_car))


@dataclass(frozen=True)
class Instance:
    """One object in a picture: COCO category id and its visible pixels (H, W) as bool."""

    category_id: int
    mask: np.ndarray


def categories() -> list[dict]:
    """COCO's `categories` for all drawn kinds, those that Cityscapes knows included."""
    named = [(identity, name) for identity, name, _ in (*KNOWN_KINDS, *OBJECT_KINDS)]
    return [
        {"id": identity, "name": name, "supercategory": "drawn"} for identity, name in sorted(named)
    ]


def draw_picture(rng: np.random.Generator) -> tuple[np.ndarray, list[Instance]]:
    """Draw a picture (H, W, 3) uint8 BGR and list the instances in it."""
    height, width = PICTURE_SIZE
    canvas = Canvas(height, width)
    canvas.image[:] = _background(rng)
    ids = []
    for index in range(rng.integers(1, 4)):
        known = rng.random() < 0.12
        size = int(rng.uniform(60, 150))
        kinds = KNOWN_KINDS if known else OBJECT_KINDS
        identity, _, draw = kinds[rng.integers(len(kinds))]
        patch = _draw_known(draw, size, rng) if known else draw_object(draw, size, rng)
        image = patch.image * shading(rng, *patch.shape)
        left, top = rng.integers(0, width - size + 1), rng.integers(0, height - size + 1)
        mask = patch.labels != IGNORE
        canvas.stamp(image.clip(0, 255).astype(np.uint8), mask, int(left), int(top), index)
        ids.append(identity)
    image = cv2.GaussianBlur(canvas.image, (0, 0), rng.uniform(0.3, 0.7)).astype(np.float32)
    image += rng.normal(0, rng.uniform(1, 5), image.shape)
    instances = [Instance(identity, canvas.labels == index) for index, identity in enumerate(ids)]
    visible = [instance for instance in instances if instance.mask.any()]
    return image.clip(0, 255).astype(np.uint8), visible


def _background(rng: np.random.Generator) -> np.ndarray:
    height, width = PICTURE_SIZE
    top = random_colour(rng, (0, 1), (0.0, 0.3), (0.4, 0.95))
    image = gradient(top, random_colour(rng, (0, 1), (0.0, 0.3), (0.4, 0.95)), height, width)
    table = int(height * rng.uniform(0.5, 0.9))
    image[table:] = random_colour(rng, (0, 0.15), (0.05, 0.5), (0.3, 0.8))
    noise = 1 + 0.08 * smooth_noise(rng, height, width, rng.uniform(3, 30))
    return (image * noise[..., None]).clip(0, 255).astype(np.uint8)


def _draw_known(draw, size: int, rng: np.random.Generator) -> Canvas:
    """A road user as in the scenes, filling most of a square canvas."""
    canvas = Canvas(size, size)
    # At 6 m, two metres fill nine tenths of the canvas.
    camera = Camera(focal=2.7 * size, centre_x=0.5 * size, horizon=0.3 * size, eye=1.4)
    draw(Stage(canvas, camera, sample_street(rng), sample_style(rng), rng), 0.0, 6.0)
    return canvas


def encode_instance(instance: Instance, *, as_polygon: bool) -> dict:
    """The COCO fields `segmentation`, `area`, `bbox` and `iscrowd` of an instance.

    Args:
        instance: the object.
        as_polygon: polygons where the mask has no holes; otherwise, and for masks with holes,
            uncompressed run lengths (column-major, beginning with zeros).
    """
    mask = instance.mask
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    polygons = _polygons(mask) if as_polygon else None
    return {
        "segmentation": polygons or _run_lengths(mask),
        "area": int(mask.sum()),
        "bbox": [int(value) for value in box],
        "iscrowd": 0,
    }


def _run_lengths(mask: np.ndarray) -> dict:
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(starts).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Outlines along the pixel edges; None if there is a hole, which polygons cannot say."""
    # Each pixel becomes 4x4, so that the outline runs an eighth of a pixel inside its edge.
    large = np.kron(mask, np.ones((4, 4), np.uint8))
    outlines, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None or (hierarchy[0, :, 3] >= 0).any():
        return None
    return [
        ((outline[:, 0].astype(float) + 0.5) / 4).ravel().tolist()
        for outline in outlines
        if len(outline) >= 3
    ]
