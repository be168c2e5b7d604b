"""People and bicycles: pedestrians, bicycles, and riders on them."""

from __future__ import annotations

from ood_seg.demo.canvas import scaled
from ood_seg.demo.stage import LABEL, Stage
from ood_seg.demo.textures import random_colour
from ood_seg.demo.traffic import TYRE
from ood_seg.demo.wayside import ground_shadow

SKIN = ((150, 180, 226), (118, 150, 204), (66, 92, 140), (48, 66, 100))


def draw_person(
    stage: Stage, x: float, z: float, *, name: str = "person", seat: float = 0.0
) -> None:
    """A walking person, or with `seat` > 0 one who sits that many metres above the ground."""
    label, rng = LABEL[name], stage.rng
    tall = rng.uniform(1.5, 1.9)
    lift = seat - 0.45 * tall if seat else 0.0
    top = random_colour(rng, (0, 1), (0.05, 0.9), (0.15, 0.95))
    trousers = random_colour(rng, (0.5, 0.72), (0.05, 0.5), (0.12, 0.5))
    skin = SKIN[rng.integers(len(SKIN))]
    lean = rng.uniform(-0.06, 0.06)

    def part(points, colour) -> None:
        stage.face([(x + u, lift + v * tall, z) for u, v in points], colour, label)

    if seat:
        part([(-0.15, 0.5), (0.15, 0.5), (0.3, 0.26), (0.12, 0.24)], trousers)
    else:
        ground_shadow(stage, x, z, (0.4, 0.25), 0.55)
        step = rng.uniform(0.08, 0.3)
        for foot in (-step, step):
            part([(-0.13, 0.5), (0.13, 0.5), (foot + 0.1, 0.0), (foot - 0.07, 0.0)], trousers)
    for arm in (-1, 1):
        hand = arm * (0.25 + rng.uniform(0.02, 0.16))
        shoulder = [(arm * 0.18, 0.8), (arm * 0.27, 0.79)]
        part([*shoulder, (hand + 0.05, 0.46), (hand - 0.05, 0.46)], scaled(top, 0.8))
    part([(-0.19, 0.46), (0.19, 0.46), (0.24 + lean, 0.81), (-0.24 + lean, 0.81)], top)
    neck = lean - 0.05, lean + 0.05
    part([(neck[0], 0.8), (neck[1], 0.8), (neck[1], 0.87), (neck[0], 0.87)], skin)
    stage.disc((x + lean, lift + 0.93 * tall, z), 0.115, skin, label, squash=1.2)
    hair = random_colour(rng, (0.02, 0.12), (0.2, 0.7), (0.08, 0.6))
    stage.disc((x + lean, lift + 0.965 * tall, z), 0.115, hair, label, squash=0.75)


def draw_bicycle(stage: Stage, x: float, z: float) -> None:
    """A bicycle across the view; its wheels count as filled, as in Cityscapes."""
    label, rng = LABEL["bicycle"], stage.rng
    frame = random_colour(rng, (0, 1), (0.5, 0.95), (0.4, 0.9))
    ground_shadow(stage, x, z, (0.8, 0.15), 0.6)
    scale = stage.camera.pixels_per_metre(z)
    for hub in (-0.52, 0.52):
        centre = stage.camera.project([(x + hub, 0.34, z)])[0]
        axes = (0.34 * scale, 0.34 * scale)
        stage.canvas.ellipse(centre, axes, stage.canvas.image.copy(), label)
        width = max(2, round(0.07 * scale))
        stage.canvas.ellipse(centre, axes, stage.style.faded(TYRE, z), label, thickness=width)
    tubes = [[(-0.52, 0.34), (-0.15, 0.75), (0.38, 0.75), (0.0, 0.34), (-0.52, 0.34)]]
    tubes += [[(0.0, 0.34), (-0.18, 0.92)], [(0.52, 0.34), (0.36, 0.98), (0.5, 1.02)]]
    for tube in tubes:
        stage.bar([(x + u, v, z) for u, v in tube], 0.07, frame, label)
    stage.bar([(x - 0.3, 0.93, z), (x - 0.06, 0.93, z)], 0.08, (40, 40, 44), label)


def draw_rider(stage: Stage, x: float, z: float) -> None:
    """A bicycle with somebody on it."""
    draw_bicycle(stage, x, z)
    draw_person(stage, x - 0.1, z, name="rider", seat=0.95)
