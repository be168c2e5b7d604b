"""Drawn objects: COCO kinds that training pastes, and anomalies that only evaluation shows.

The shapes are in percent of a square, y down, as `Canvas.draw_shapes` takes them. `paint` is a
texture of `textures.surface`, which no anomaly has.
"""

from __future__ import annotations

import cv2
import numpy as np

from ood_seg.demo.canvas import Canvas
from ood_seg.demo.textures import Palette, pattern, random_colour, shading, surface
from ood_seg.labels import IGNORE, OUTLIER

# COCO category id and shapes. `toy` stands for the toys that COCO does not name.
OBJECT_KINDS = {
    "cow": (21, """hide*.8 box 20 60 29 97; hide*.8 box 32 60 41 97; hide*.8 box 60 60 69 97;
        hide*.8 box 70 60 79 97; paint oval 48 50 34 20; hide oval 84 50 12 10 30;
        hide line 3 15 42 6 50 5 70"""),
    "elephant": (22, """pale*.8 box 14 60 26 98; pale*.8 box 30 60 42 98; pale*.8 box 50 60 62 98;
        pale*.8 box 62 60 74 98; pale oval 42 42 36 30; pale oval 78 34 17 19;
        pale line 9 90 40 95 60 90 80; paint oval 68 36 12 17"""),
    "umbrella": (28, """grey line 3 50 30 50 90 56 96 62 92; paint poly 2 46 6 30 16 16 32 7 50 4
        68 7 84 16 94 30 98 46 82 41 66 46 50 41 34 46 18 41"""),
    "suitcase": (33, """dark line 5 40 20 40 7 60 7 60 20; paint box 14 18 86 96;
        dark box 28 18 34 96; dark box 66 18 72 96"""),
    "sports ball": (37, """paint oval 50 50 46 46; any line 3 6 50 30 35 70 35 94 50;
        white oval 36 32 7 5 -40"""),
    "kite": (38, """signal line 3.5 50 70 42 80 58 90 48 98; paint poly 50 2 90 33 50 74 10 33;
        any poly 50 2 90 33 50 33"""),
    "bottle": (44, """any poly 42 10 58 10 58 30 69 42 69 98 31 98 31 42 42 30;
        paint box 31 52 69 84; signal box 42 3 58 12"""),
    "banana": (52, """paint poly 91 40 78 63 58 76 42 76 22 63 9 40 14 29 26 43 43 51 57 51 74 43
        86 29; gold poly 91 50 78 73 58 86 42 86 22 73 9 50 14 39 26 53 43 61 57 61 74 53 86 39"""),
    "donut": (60, """paint ring 20 50 50 34 34; any cloud 9 3 7 50 19 26 5;
        signal cloud 9 3 7 50 81 26 5"""),
    "chair": (62, """wood line 5 22 54 20 98; wood line 5 36 54 38 98; wood line 5 66 54 64 98;
        wood line 5 80 54 82 98; paint poly 18 4 28 2 34 54 20 54;
        paint poly 18 51 80 54 86 64 20 64"""),
    "couch": (63, """paint box 8 34 92 70; paint*.75 box 12 58 88 84; paint box 2 48 16 88;
        paint box 84 48 98 88; any box 28 44 46 60"""),
    "potted plant": (64, """leaf poly 50 68 17 44 5 12 35 38; leaf*1.2 poly 50 68 32 30 30 4 50 34;
        leaf*.8 poly 50 68 52 32 62 2 66 36; leaf poly 50 68 66 40 95 10 80 48;
        leaf*1.4 poly 50 68 62 56 92 46 66 66; leaf*.7 poly 50 68 34 54 8 46 34 66;
        paint poly 28 62 72 62 64 98 36 98"""),
    "refrigerator": (82, """paint box 22 2 78 98; black box 22 44 78 47;
        grey line 3 30 24 30 40"""),
    "clock": (85, """paint oval 50 50 47 47; pale oval 50 50 36 36; black line 3.5 50 50 38 30;
        black line 3.5 50 50 79 54"""),
    "teddy bear": (88, """paint oval 30 16 12 10; paint oval 70 16 12 10; paint oval 22 60 12 10;
        paint oval 78 60 12 10; paint oval 28 88 12 10; paint oval 72 88 12 10;
        paint oval 50 66 27 30; paint oval 50 28 24 22; pale oval 50 34 10 8;
        black oval 41 24 2.5 2.5; black oval 59 24 2.5 2.5"""),
    "toy": (91, "paint cloud 5 26 9 50 50 18 18; any oval 42 44 8 6; signal oval 60 58 6 9"),
}  # fmt: skip
# Height over the ground in metres, from and to, and shapes.
ANOMALY_KINDS = {
    "cone": ((0.6, 1.1), """orange poly 44 2 56 2 80 92 20 92; white poly 37 30 63 30 67 45 33 45;
        white poly 30 58 70 58 74 75 26 75; orange*.7 box 8 90 92 100"""),
    "tyre": ((0.6, 1.0), """stripes oval 50 80 48 19; black oval 50 66 48 19;
        stripes oval 50 50 48 20; black*.7 oval 50 48 26 9"""),
    "deer": ((1.3, 1.9), """coat*.7 poly 24 55 33 55 26 100 21 100;
        coat*.7 poly 30 55 39 55 39 100 34 100; coat*.7 poly 58 55 67 55 67 100 62 100;
        coat*.7 poly 64 55 73 55 77 100 72 100; coat oval 47 52 27 13;
        coat poly 60 50 72 55 84 28 75 22; coat oval 84 25 10 5.5 25;
        hide line 2.8 79 22 68 14 62 2; hide line 2.8 79 22 83 14 92 0;
        hide line 2.8 79 22 73 14 72 0; white oval 20 46 4 6"""),
    "crate": ((0.6, 1.3), """checker poly 0 25 68 30 68 100 0 94;
        checker*.6 poly 68 30 100 22 100 86 68 100; signal*1.1 poly 0 25 36 16 100 22 68 30"""),
    "star": ((0.7, 1.3), """gold poly 50 0 64 31 98 34 72 57 79 90 50 73 21 90 28 57 2 34 36 31;
        gold*.7 poly 50 50 50 0 64 31; gold*.7 poly 50 50 98 34 72 57;
        gold*.7 poly 50 50 79 90 50 73; gold*.7 poly 50 50 21 90 28 57;
        gold*.7 poly 50 50 2 34 36 31"""),
    "barrier": ((0.9, 1.3), """grey box 16 35 23 100; black box 6 95 33 100; grey box 78 35 85 100;
        black box 68 95 95 100; board box 0 38 100 56; board box 0 66 100 80"""),
    "rubble": ((0.5, 0.9), "rock*.8 cloud 12 13 7 50 86 36 8; rock cloud 9 11 7 50 74 18 10"),
}  # fmt: skip


def draw_object(text: str, size: int, rng: np.random.Generator) -> Canvas:
    """Draw the shapes of a kind on a square canvas, stretched, leaning and lit at random.

    Labels are 254 on the object, 255 elsewhere.
    """
    canvas, bright, cells = Canvas(size, size), random_colour(rng, "signal"), rng.uniform(6, 10)
    palette = Palette(
        rng,
        paint=surface(rng, size),
        checker=pattern(size, int(cells), bright, random_colour(rng, "pale"), diagonal=False),
        stripes=pattern(size, cells, bright, (40, 40, 40), diagonal=True),
        board=pattern(size, 1.4 * cells, random_colour(rng, "red"), (236, 238, 238), diagonal=True),
        signal=bright,
    )
    # The middle of the foot stays where it is.
    wide, tall, lean = rng.uniform(0.8, 1.0), rng.uniform(0.85, 1.0), rng.uniform(-0.08, 0.08)
    matrix = np.array([(wide * rng.choice([-1, 1]), 0), (lean, tall)]) * size / 100
    foot = np.array([size / 2, size - 1])

    def place(points: np.ndarray):
        return (points - (50, 100)) @ matrix + foot, size / 100, lambda paint: paint

    canvas.draw_shapes(text, place, palette, OUTLIER)
    lit = canvas.image * shading(rng, size, size) * rng.uniform(0.85, 1.05)
    canvas.image[:] = lit.clip(0, 255)
    return canvas


def cut_out(canvas: Canvas, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (height, w, 3) and mask (height, w) of the object on a canvas, resized."""
    mask = (canvas.labels != IGNORE).astype(np.uint8)
    left, top, width, rows = cv2.boundingRect(mask)
    box = slice(top, top + rows), slice(left, left + width)
    size = max(4, round(height * width / rows)), height
    # The object's own colours around it, so that averaging gives it no dark outline.
    around = cv2.dilate(canvas.image, np.ones((9, 9), np.uint8))
    filled = np.where(mask[..., None] > 0, canvas.image, around)[box]
    image = cv2.resize(filled, size, interpolation=cv2.INTER_AREA)
    return image, cv2.resize(mask[box], size, interpolation=cv2.INTER_NEAREST)
