"""Drawn scenes and objects: seeded, with valid labels, and with kinds kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from ood_seg.demo.canvas import Canvas
from ood_seg.demo.coco import KNOWN_KINDS, categories
from ood_seg.demo.objects import ANOMALY_KINDS, OBJECT_KINDS, cut_out, draw_object
from ood_seg.demo.scenes import draw_scene
from ood_seg.demo.stage import Camera, Stage
from ood_seg.demo.textures import Palette
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


def test_the_hood_is_ignored_and_can_be_left_out():
    assert (scene(6).labels[-1] == IGNORE).mean() > 0.5
    assert not (scene(6, ego_hood=False).labels == IGNORE).any()


def test_anomaly_kinds_are_never_pasted_in_training():
    pasted, shown = dict(OBJECT_KINDS.values()), dict(ANOMALY_KINDS.values())
    assert not OBJECT_KINDS.keys() & ANOMALY_KINDS.keys()
    assert not set(pasted.values()) & set(shown.values())
    for text in pasted.values():
        assert not any(name in text for name in ("checker", "stripes", "board"))
    assert not any("paint" in text for text in shown.values())


@pytest.mark.parametrize(
    "text",
    [text for _, text in [*OBJECT_KINDS.values(), *ANOMALY_KINDS.values()]],
    ids=[*OBJECT_KINDS, *ANOMALY_KINDS],
)
def test_objects_fill_a_good_part_of_their_canvas(text):
    canvas = draw_object(text, 64, np.random.default_rng(0))
    assert set(np.unique(canvas.labels)) == {OUTLIER, IGNORE}
    assert 0.1 < (canvas.labels == OUTLIER).mean() < 0.95
    image, mask = cut_out(canvas, 20)
    assert image.shape == (*mask.shape, 3)
    assert mask.shape[0] == 20
    assert mask.any(0).mean() > 0.8
    assert mask.any(1).mean() > 0.8


def test_categories_are_unique_and_hold_the_known_ones():
    ids = [entry["id"] for entry in categories()]
    assert len(set(ids)) == len(ids)
    assert KNOWN_KINDS.keys() <= {entry["name"] for entry in categories()}


def test_the_camera_puts_the_ground_below_the_horizon():
    camera = Camera(focal=100, centre_x=50, horizon=40, eye=1.5)
    np.testing.assert_allclose(camera.project([(1, 0, 10), (0, 1.5, 7)]), [[60, 55], [50, 40]])
    stage = Stage(Canvas(80, 100), camera, np.random.default_rng(0))
    assert (stage.ground(-1, 1, 2, 50)[:, 1] > 40).all()


def test_shapes_are_drawn_where_their_text_puts_them():
    canvas, rng = Canvas(20, 20, label=3), np.random.default_rng(0)
    palette = Palette(rng, blue=np.array([200.0, 0, 0]))

    def place(points):
        return 2 * points + (0, 1), 2, lambda colour: colour / 2

    canvas.draw_shapes(
        "blue box 1 1 3 2; none box 5 5 6 6; blue*.5 line 1 0 8 9 8", place, palette, 7
    )
    assert (canvas.labels[3:6, 2:7] == 7).all()
    assert (canvas.image[3:6, 2:7] == (100, 0, 0)).all()
    assert (canvas.labels[11:14, 10:13] == 7).all()
    assert not canvas.image[11:14, 10:13].any()
    assert (canvas.image[17, 2:17] == (50, 0, 0)).all()
    assert (canvas.labels[8] == 3).all()


def test_a_cloud_stays_around_its_oval():
    canvas, rng = Canvas(100, 100), np.random.default_rng(0)
    canvas.draw_shapes(
        "leaf cloud 60 4 7 50 50 30 20", lambda points: (points, 1, lambda c: c), Palette(rng), 8
    )
    rows, columns = np.nonzero(canvas.labels == 8)
    assert 18 < rows.min() < 40
    assert 60 < rows.max() < 77
    assert 10 < columns.min() < 30
    assert 70 < columns.max() < 87
    assert len(np.unique(canvas.image.reshape(-1, 3), axis=0)) > 20


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
