"""Drawn COCO images: a plain background, one to three objects, and their exact masks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ood_seg.demo.canvas import Canvas
from ood_seg.demo.objects import OBJECT_KINDS, cut_out, draw_object
from ood_seg.demo.stage import Camera, Stage
from ood_seg.demo.textures import gradient, random_colour, smooth_noise
from ood_seg.demo.things import draw_bicycle, draw_person, draw_vehicle

IMAGE_SIZE = (180, 240)
# Classes of Cityscapes, which outlier sources must leave out: drawn as in the scenes.
KNOWN_KINDS: dict[str, tuple[int, Any]] = {
    "person": (1, draw_person),
    "bicycle": (2, draw_bicycle),
    "car": (3, draw_vehicle),
}


def categories() -> list[dict]:
    """COCO's `categories` for all drawn kinds, those that Cityscapes knows included."""
    kinds = {**KNOWN_KINDS, **OBJECT_KINDS}.items()
    return [{"id": number, "name": name, "supercategory": "drawn"} for name, (number, _) in kinds]


def draw_image(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Draw an image (H, W, 3) uint8 BGR; list each object's category id and visible pixels."""
    height, width = IMAGE_SIZE
    canvas, numbers = Canvas(height, width), []
    top, bottom = random_colour(rng, "pale"), random_colour(rng, "pale")
    canvas.image[:] = gradient(top, bottom, height, width)
    canvas.image[int(height * rng.uniform(0.5, 0.9)) :] = random_colour(rng, "table")
    noise = 1 + 0.08 * smooth_noise(rng, height, width, rng.uniform(3, 30))
    canvas.image[:] = (canvas.image * noise[..., None]).clip(0, 255)
    for index in range(rng.integers(1, 4)):
        is_known, size = rng.random() < 0.12, int(rng.uniform(60, 150))
        kinds = list((KNOWN_KINDS if is_known else OBJECT_KINDS).values())
        number, kind = kinds[rng.integers(len(kinds))]
        patch = _draw_known(kind, size, rng) if is_known else draw_object(kind, size, rng)
        piece, mask = cut_out(patch, int(size * rng.uniform(0.7, 1)))
        x, y = rng.uniform(-10, width - 50), rng.uniform(0, height - len(mask) + 1)
        canvas.stamp(piece, mask, int(x), int(y), index)
        numbers.append(number)
    blurred = cv2.GaussianBlur(canvas.image, (0, 0), rng.uniform(0.3, 0.7)).astype(np.float32)
    image = blurred + rng.normal(0, rng.uniform(1, 5), blurred.shape)
    masks = [canvas.labels == index for index in range(len(numbers))]
    visible = [(number, mask) for number, mask in zip(numbers, masks, strict=True) if mask.any()]
    return image.clip(0, 255).astype(np.uint8), visible


def _draw_known(draw, size: int, rng: np.random.Generator) -> Canvas:
    """A road user as in the scenes, filling most of a square canvas."""
    # At 6 m, two metres fill nine tenths of the canvas.
    camera = Camera(focal=2.7 * size, centre_x=0.5 * size, horizon=0.3 * size, eye=1.4)
    stage = Stage(Canvas(size, size), camera, rng)
    draw(stage, 0.0, 6.0)
    return stage.canvas


def encode_mask(mask: np.ndarray, *, as_polygon: bool) -> dict:
    """The COCO fields `segmentation`, `area`, `bbox` and `iscrowd` of a mask (H, W).

    Args:
        mask: pixels of the object.
        as_polygon: polygons where the mask has no holes; otherwise, and for masks with holes,
            uncompressed run lengths (column-major, beginning with zeros).
    """
    polygons = _polygons(mask) if as_polygon else None
    return {
        "segmentation": polygons or _run_lengths(mask),
        "area": int(mask.sum()),
        "bbox": list(cv2.boundingRect(mask.astype(np.uint8))),
        "iscrowd": 0,
    }


def _run_lengths(mask: np.ndarray) -> dict:
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, mask.size]).tolist()}


def _polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Outlines along the pixel edges; None if there is a hole, which polygons cannot express."""
    # Each pixel becomes 4x4, so that the outline runs an eighth of a pixel inside its edge.
    large = np.kron(mask, np.ones((4, 4), np.uint8))
    outlines, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None or (hierarchy[0, :, 3] >= 0).any():
        return None
    return [((one[:, 0] + 0.5) / 4).ravel().tolist() for one in outlines if len(one) >= 3]
