"""Score maps of a video: averages with known results, in place and along the motion."""

import numpy as np
import pytest
from perception_scenes import grey_image, texture

from ood_seg.perception.core.motion import backward_motion, resized_motion, warped
from ood_seg.perception.core.temporal import TemporalFilter, frame_difference
from ood_seg.perception.core.types import Frame, Prediction

STILL = grey_image(texture(40, 60))


def run(filter_, maps, images=None, probability=None, chances=None):
    """Filtered predictions of a sequence of score maps."""
    images = [STILL] * len(maps) if images is None else images
    found = []
    for index, (scores, image) in enumerate(zip(maps, images, strict=True)):
        chance = None if chances is None else chances[index]
        prediction = Prediction(np.zeros(scores.shape, np.uint8), np.float32(scores), chance)
        found.append(filter_(Frame(image, f"frame{index}", index), prediction, probability))
    return found


def constant(*values):
    return [np.full((40, 60), value, np.float32) for value in values]


def level(prediction):
    assert np.ptp(prediction.anomaly) == 0
    return float(prediction.anomaly[0, 0])


@pytest.mark.parametrize("motion", [False, True])
def test_average_by_hand(motion):
    # 0; 0 + (8 - 0) / 4; 2 + (8 - 2) / 4; 3.5 + (-4 - 3.5) / 4
    found = run(TemporalFilter(0.25, motion=motion), constant(0, 8, 8, -4))
    assert [level(one) for one in found] == [0, 2, 3.5, 1.625]
    assert [level(one) for one in run(TemporalFilter(1.0), constant(0, 8, -4))] == [0, 8, -4]


def test_a_step_is_followed_by_the_stated_share():
    found = run(TemporalFilter(0.3, motion=False), constant(0, *[1] * 6))
    expected = [1 - 0.7**k for k in range(7)]
    np.testing.assert_allclose([level(one) for one in found], expected, rtol=1e-6)


def test_the_weight_follows_the_time_that_has_passed():
    """After k usual steps the share of the old score is (1 - weight)^k, in one step or in k."""
    filter_ = TemporalFilter(0.5, motion=False)
    maps = constant(0, 0, 0, 0, 16, 16)
    stamps, found = [10.0, 10.5, 11.0, 11.5, 13.0, 13.5], []
    for index, (scores, stamp) in enumerate(zip(maps, stamps, strict=True)):
        prediction = Prediction(np.zeros((40, 60), np.uint8), scores)
        found.append(level(filter_(Frame(STILL, "a", index, stamp), prediction)))
    # 16 (1 - 0.5^3), then half of the rest.
    assert found == [0, 0, 0, 0, 14, 15]
    # A pause of any length: the new score.
    prediction = Prediction(np.zeros((40, 60), np.uint8), constant(-3)[0])
    assert level(filter_(Frame(STILL, "a", 6, 1e6), prediction)) == pytest.approx(-3)


def test_a_stamp_that_falls_starts_a_new_video():
    filter_ = TemporalFilter(0.5, motion=False)
    prediction = Prediction(np.zeros((40, 60), np.uint8), constant(8)[0])
    filter_(Frame(STILL, "a", 0, 3.0), prediction._replace(anomaly=constant(0)[0]))
    assert level(filter_(Frame(STILL, "b", 1, 0.0), prediction)) == 8


@pytest.mark.parametrize("motion", [False, True])
def test_static_scene_is_unchanged_to_the_last_bit(motion):
    scores = np.random.default_rng(0).normal(-7, 2, (40, 60)).astype(np.float32)
    labels = np.arange(2400, dtype=np.uint8).reshape(40, 60)
    filter_ = TemporalFilter(0.3, motion=motion)
    for index in range(4):
        result = filter_(Frame(STILL, "a", index), Prediction(labels, scores, scores))
        np.testing.assert_array_equal(result.anomaly, scores)
        np.testing.assert_array_equal(result.probability, scores)
        assert result.labels is labels


def shifted_views(step, count):
    """Views of one wide texture that move over it by `step` pixels to the right."""
    wide = texture(48, 96 + step * count, seed=1)
    return [grey_image(wide[:, k * step : k * step + 96]) for k in range(count)]


def test_moving_scene_is_averaged_along_a_known_motion():
    step, count = 5, 4
    images = shifted_views(step, count)
    noise = np.random.default_rng(0)
    world = noise.normal(size=(48, 96 + step * count)).astype(np.float32)
    maps = [world[:, k * step : k * step + 96] + np.float32(k) for k in range(count)]

    def known(previous, current):
        flow = np.zeros((*current.shape, 2), np.float32)
        flow[..., 0] = step  # what is at x now was at x + step
        trusted = np.ones(current.shape, bool)
        trusted[:, -step:] = False  # newly uncovered on the right
        return flow, trusted

    found = run(TemporalFilter(0.5, motion=known), maps, images)
    # A point of the world has its value plus 0, 1, 2, 3 in the frames that see it.
    offset = 0.0
    for k in range(1, count):
        offset = offset + 0.5 * (k - offset)
        seen_from_the_start = slice(0, 96 - k * step)
        np.testing.assert_allclose(
            found[k].anomaly[:, seen_from_the_start],
            world[:, k * step : 96] + offset,
            atol=1e-5,
        )
        np.testing.assert_array_equal(found[k].anomaly[:, -step:], maps[k][:, -step:])


def test_estimated_motion_finds_a_shift_and_uncovered_pixels():
    before, now = shifted_views(5, 2)
    flow, trusted = backward_motion(before[..., 0].copy(), now[..., 0].copy())
    middle = np.s_[8:-8, 8:-16]
    assert trusted[middle].mean() > 0.95
    assert np.abs(flow[middle] - [5, 0])[trusted[middle]].mean() < 0.15
    assert not trusted[:, -5:].any()
    still, all_trusted = backward_motion(before[..., 0].copy(), before[..., 0].copy())
    assert not still.any()
    assert all_trusted.all()


def test_estimated_motion_beats_averaging_in_place():
    images = shifted_views(5, 4)
    maps = [image[..., 0].astype(np.float32) for image in images]  # scores stick to the scene
    errors = []
    for motion in (True, False):
        last = run(TemporalFilter(0.3, motion=motion), maps, images)[-1].anomaly
        errors.append(np.abs(last - maps[-1]).mean())
    assert errors[0] < 0.2 * errors[1]


def test_newly_uncovered_pixels_take_the_new_score():
    background = texture(64, 96, seed=2)
    images, maps = [], []
    for left in (20, 32):  # an object of other texture and score 10 moves to the right
        image = background.copy()
        image[20:44, left : left + 24] = texture(24, 24, seed=3)
        images.append(grey_image(image))
        scores = np.zeros((64, 96), np.float32)
        scores[20:44, left : left + 24] = 10
        maps.append(scores)
    uncovered = np.s_[24:40, 22:28]
    with_motion = run(TemporalFilter(0.5), maps, images)[1].anomaly
    in_place = run(TemporalFilter(0.5, motion=False), maps, images)[1].anomaly
    assert (in_place[uncovered] == 5).all()  # a ghost
    assert with_motion[uncovered].mean() < 1
    assert with_motion[24:40, 34:54].mean() > 9


def test_warping_interpolates_between_pixels():
    values = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    flow = np.zeros((4, 8, 2), np.float32)
    flow[..., 0] = -0.5
    expected = np.clip(np.arange(8) - 0.5, 0, None)
    np.testing.assert_allclose(warped(values, flow)[0], expected)


def test_flow_of_small_frames_is_in_pixels_of_large_ones():
    small = np.ones((10, 20, 2), np.float32) * np.float32([2, -1])
    trusted = np.zeros((10, 20), bool)
    trusted[:, 10:] = True
    flow, sure = resized_motion(small, trusted, (30, 40))
    np.testing.assert_allclose(flow, np.broadcast_to(np.float32([4, -3]), (30, 40, 2)))
    np.testing.assert_array_equal(sure, np.broadcast_to(np.arange(40) >= 20, (30, 40)))


def test_large_images_are_filtered_too():
    wide = texture(90, 700, seed=4)
    images = [grey_image(wide[:, :640]), grey_image(wide[:, 10:650])]
    maps = [image[..., 0].astype(np.float32) for image in images]
    last = run(TemporalFilter(0.5, motion_width=320), maps, images)[1].anomaly
    assert np.abs(last - maps[1])[10:-10, 20:-40].mean() < 0.1 * np.abs(maps[0] - maps[1]).mean()


@pytest.mark.parametrize(
    "change",
    [
        {"image": grey_image(255 - texture(40, 60))},  # another scene
        {"image": grey_image(texture(41, 60))},  # another size
        {"index": 0},  # the video begins again
        {"index": 1},  # the same frame twice
    ],
)
def test_a_cut_resets_the_filter(change):
    filter_ = TemporalFilter(0.5)
    run(filter_, constant(0, 0))
    frame = Frame(**{"image": STILL, "name": "next", "index": 2} | change)
    size = frame.image.shape[:2]
    new = Prediction(np.zeros(size, np.uint8), np.full(size, 8, np.float32))
    assert (filter_(frame, new).anomaly == 8).all()


def test_reset_starts_again():
    filter_ = TemporalFilter(0.5)
    run(filter_, constant(0))
    filter_.reset()
    assert level(run(filter_, constant(8))[0]) == 8


def test_cut_is_measured_in_grey_levels():
    low, high = np.full((90, 160), 50, np.uint8), np.full((90, 160), 85, np.uint8)
    assert frame_difference(low, high) == frame_difference(high, low) == 35
    maps, images = constant(0, 8), [grey_image(np.full((40, 60), v, np.uint8)) for v in (50, 85)]
    for cut, expected in ((34, 8), (36, 4)):
        assert level(run(TemporalFilter(0.5, motion=False, cut=cut), maps, images)[1]) == expected


def test_probability_is_calibrated_again_or_filtered():
    chances = [np.full((40, 60), value, np.float32) for value in (0.0, 1.0)]
    filter_ = TemporalFilter(0.5)
    found = run(filter_, constant(0, 8), probability=lambda s: s / 100, chances=chances)
    assert found[1].probability[0, 0] == np.float32(0.04)
    filter_.reset()
    found = run(filter_, constant(0, 8), probability=lambda s: None, chances=chances)
    assert found[1].probability[0, 0] == 0.5
    filter_.reset()
    assert run(filter_, constant(0, 8))[1].probability is None


def test_scores_that_are_not_finite_leave_the_state_unchanged():
    filter_ = TemporalFilter(0.5)
    run(filter_, constant(0))
    bad = np.full((40, 60), np.nan, np.float32)
    labels = np.zeros((40, 60), np.uint8)
    with pytest.raises(ValueError, match="drive7: 2400 anomaly scores are NaN or infinite"):
        filter_(Frame(STILL, "drive7", 1), Prediction(labels, bad))
    good = filter_(Frame(STILL, "drive8", 2), Prediction(labels, constant(8)[0]))
    assert (good.anomaly == 4).all()


def test_tiny_frames_are_averaged_in_place():
    image = np.zeros((4, 5, 3), np.uint8)
    maps = [np.zeros((4, 5), np.float32), np.ones((4, 5), np.float32)]
    assert (run(TemporalFilter(0.5), maps, [image, image])[1].anomaly == 0.5).all()


def test_bad_settings_are_refused():
    for weight in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="weight: expected above 0 and up to 1"):
            TemporalFilter(weight)
    with pytest.raises(ValueError, match=r"motion_width >= 16 .*got 8"):
        TemporalFilter(motion_width=8)
