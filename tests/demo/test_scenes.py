"""Drawn scenes and objects: seeded, with valid labels, and with kinds kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from ood_seg.demo.anomalies import ANOMALY_KINDS
from ood_seg.demo.canvas import Camera, Canvas, ground
from ood_seg.demo.coco import KNOWN_KINDS, categories
from ood_seg.demo.objects import OBJECT_KINDS, draw_object
from ood_seg.demo.scenes import draw_scene
from ood_seg.labels import CITYSCAPES_CLASSES, IGNORE, OUTLIER

SIZE = (80, 160)


def scene(seed: int, **options):
    return draw_scene(np.random.default_rng(seed), SIZE, **options)


def test_the_same_seed_draws_the_same_bytes():
    first, again, other = scene(1, anomalies=2), scene(1, anomalies=2), scene(2, anomalies=2)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_shapes_types_and_label_values():
    drawn = scene(3)
    assert drawn.image.shape == (*SIZE, 3)
    assert drawn.labels.shape == SIZE
    assert drawn.image.dtype == drawn.labels.dtype == np.uint8
    assert set(np.unique(drawn.labels)) <= {*range(len(CITYSCAPES_CLASSES)), IGNORE}


def test_scenes_show_every_class_but_trains():
    seen = set()
    for seed in range(25):
        seen |= set(np.unique(scene(seed).labels).tolist())
    train = CITYSCAPES_CLASSES.index("train")
    assert seen == {*range(len(CITYSCAPES_CLASSES)), IGNORE} - {train}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_anomalies_are_drawn_when_asked_for(count):
    drawn = scene(5, anomalies=count)
    assert len(set(drawn.anomalies)) == count
    assert (drawn.labels == OUTLIER).any() == (count > 0)


def test_the_hood_is_void_and_can_be_left_out():
    assert (scene(6).labels[-1] == IGNORE).mean() > 0.5
    assert not (scene(6, ego_hood=False).labels == IGNORE).any()


def test_anomaly_kinds_are_never_pasted_in_training():
    pasted = {name for _, name, _ in OBJECT_KINDS} | {draw.__name__ for *_, draw in OBJECT_KINDS}
    shown = set(ANOMALY_KINDS) | {painter.__name__ for painter, _ in ANOMALY_KINDS.values()}
    assert not pasted & shown
    assert not {draw for *_, draw in OBJECT_KINDS} & {draw for draw, _ in ANOMALY_KINDS.values()}


@pytest.mark.parametrize("kind", OBJECT_KINDS, ids=lambda kind: kind[1])
def test_objects_fill_a_good_part_of_their_canvas(kind):
    canvas = draw_object(kind[2], 64, np.random.default_rng(0))
    assert set(np.unique(canvas.labels)) == {OUTLIER, IGNORE}
    assert 0.1 < (canvas.labels == OUTLIER).mean() < 0.95


def test_categories_are_unique_and_hold_the_known_ones():
    ids = [entry["id"] for entry in categories()]
    assert len(set(ids)) == len(ids)
    assert {name for _, name, _ in KNOWN_KINDS} <= {entry["name"] for entry in categories()}


def test_the_camera_puts_the_ground_below_the_horizon():
    camera = Camera(focal=100, centre_x=50, horizon=40, eye=1.5)
    np.testing.assert_allclose(camera.project([(1, 0, 10), (0, 1.5, 7)]), [[60, 55], [50, 40]])
    assert (camera.project(ground(-1, 1, 2, 50))[:, 1] > 40).all()


def test_a_shadow_darkens_the_image_inside_and_leaves_the_labels():
    canvas = Canvas(10, 10, label=3)
    canvas.image[:] = 100
    canvas.darken(np.array([(2, 2), (7, 2), (7, 7), (2, 7)]), 0.5)
    assert (canvas.image[2:8, 2:8] == 50).all()
    assert canvas.image[0, 0, 0] == canvas.image[8, 8, 0] == 100
    assert (canvas.labels == 3).all()


def test_a_stamp_beyond_the_edge_is_cut_off():
    canvas = Canvas(4, 4)
    canvas.stamp(np.full((3, 3, 3), 9, np.uint8), np.ones((3, 3)), -1, 2, OUTLIER)
    expected = np.full((4, 4), IGNORE)
    expected[2:, :2] = OUTLIER
    np.testing.assert_array_equal(canvas.labels, expected)
    canvas.stamp(np.zeros((3, 3, 3), np.uint8), np.ones((3, 3)), 50, 0, 1)
    np.testing.assert_array_equal(canvas.labels, expected)
