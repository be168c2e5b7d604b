"""Measures of flicker on frames whose flicker is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from perception_scenes import decided, grey_image, texture

from ood_seg.perception.core.flicker import FlickerMeter, changed_boxes, frame_flicker
from ood_seg.perception.core.tracking import InstanceTracker

STILL = np.zeros((8, 10, 2), np.float32)
ALL = np.ones((8, 10), bool)


def blue(scores):
    """Result whose score map is given; flagged from 100 on."""
    image = np.zeros((*np.shape(scores), 3), np.uint8)
    image[..., 0] = scores
    return decided(image, 100)


def test_a_pair_by_hand():
    before, now = np.zeros((8, 10)), np.zeros((8, 10))
    before[:2, :5] = 200  # ten pixels
    now[:2, 2:7] = 200  # six of them and four new
    values = frame_flicker(blue(before), blue(now), STILL, ALL)
    assert values["pixels"] == 8 / 80
    assert values["mask"] == 1 - 6 / 14
    assert values["scores"] == pytest.approx(8 * 200 / 80 / now.std(), rel=1e-6)
    moved = STILL.copy()
    moved[..., 0] = -2  # what is at x now was at x - 2
    seen = ALL.copy()
    seen[:, :2] = False
    assert frame_flicker(blue(before), blue(now), moved, seen) == {
        "scores": 0, "pixels": 0, "mask": 0,
    }  # fmt: skip


def test_a_mask_warped_by_half_a_pixel_includes_half_covered_pixels():
    before, now = np.zeros((8, 10)), np.zeros((8, 10))
    before[:, 2:], now[:, 1:] = 200, 200
    moved = STILL + np.float32([0.5, 0])
    assert frame_flicker(blue(before), blue(now), moved, ALL)["pixels"] == 0


def test_only_trusted_pixels_count():
    before, now = np.zeros((8, 10)), np.zeros((8, 10))
    now[:, 5:] = 200
    trusted = np.broadcast_to(np.arange(10) < 6, (8, 10))
    assert frame_flicker(blue(before), blue(now), STILL, trusted)["pixels"] == 8 / 48
    assert math.isnan(frame_flicker(blue(before), blue(now), STILL, ~ALL)["scores"])


def test_scale_and_offset_of_the_scores_do_not_matter():
    rng = np.random.default_rng(0)
    pair = [blue(rng.integers(0, 100, (8, 10))) for _ in range(2)]
    other = [replace(one, anomaly=one.anomaly * 3 - 700) for one in pair]
    values = frame_flicker(*pair, STILL, ALL)["scores"]
    assert frame_flicker(*other, STILL, ALL)["scores"] == pytest.approx(values, rel=1e-5)


def test_empty_masks_have_no_overlap():
    values = frame_flicker(blue(np.zeros((8, 10))), blue(np.eye(8, 10)), STILL, ALL)
    assert values["pixels"] == 0
    assert math.isnan(values["mask"])
    without = [replace(blue(np.eye(8, 10)), mask=None)] * 2
    assert set(frame_flicker(*without, STILL, ALL)) == {"scores"}


def test_boxes_that_appear_or_vanish():
    empty, one = np.zeros((20, 30)), np.zeros((20, 30))
    one[2:8, 2:8] = 200
    two = one.copy()
    two[12:18, 20:26] = 200
    near = np.roll(one, 1, axis=1)
    results = {name: blue(map_) for name, map_ in
               {"empty": empty, "one": one, "two": two, "near": near}.items()}  # fmt: skip
    for old, new, changed in (
        ("empty", "two", 2), ("two", "empty", 2), ("one", "two", 1), ("one", "near", 0),
    ):  # fmt: skip
        assert changed_boxes(results[old], results[new], 0.2) == changed
    numbered = [
        replace(results["one"], instances=(replace(results["one"].instances[0], track=k),))
        for k in (1, 2)
    ]
    assert changed_boxes(numbered[0], numbered[0], 0.2) == 0
    assert changed_boxes(*numbered, 0.2) == 2


def test_meter_is_zero_on_a_steady_video_and_the_tracker_lowers_it():
    image = grey_image(texture(40, 60) // 4)
    image[10:30, 20:40, 0] = 200
    dark = image.copy()
    dark[10:30, 20:40, 0] = 90
    frames = [dark if k == 4 else image for k in range(8)]
    steady, raw, tracked = FlickerMeter(), FlickerMeter(), FlickerMeter()
    tracker = InstanceTracker(birth=1)
    for index, one in enumerate(frames):
        steady.update(decided(image, 100, index=index))
        raw.update(decided(one, 100, index=index))
        tracked.update(tracker(decided(one, 100, index=index)))
    assert steady.summary() == {"scores": 0, "pixels": 0, "mask": 0, "boxes": 0, "pairs": 7}
    assert raw.summary()["boxes"] == 2 / 7
    assert tracked.summary()["boxes"] == 0
    assert raw.summary()["scores"] > 0


def test_frames_of_two_sizes_are_refused():
    meter = FlickerMeter()
    assert meter.summary() == {"pairs": 0}
    meter.update(blue(np.zeros((20, 30))))
    with pytest.raises(ValueError, match=r"frame: .*\(20, 30\).* got \(20, 31\)"):
        meter.update(blue(np.zeros((20, 31))))
