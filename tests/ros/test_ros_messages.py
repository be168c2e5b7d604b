"""Results as messages: values, headers, and what is left out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ros_doubles import PALETTE, ColourSegmentor, street

from ood_seg.perception.core.types import Frame, Instance, Palette
from ood_seg.ros.fields import Header, Runtime, build
from ood_seg.ros.images import array_of
from ood_seg.ros.messages import (
    TOPICS,
    describe,
    detections,
    label_info,
    result_messages,
)

HEADER = Header(1700000000, 5, "front_camera")
RUNTIME = Runtime(lambda name: SimpleNamespace)


def _result(segmentor):
    frame = Frame(street(), "frame")
    return segmentor.result(frame, *segmentor.predict([frame.image]))


def _built(segmentor, topics=tuple(TOPICS)):
    result = _result(segmentor)
    messages = result_messages(result, HEADER, topics)
    return result, {topic: build(RUNTIME, message) for topic, message in messages.items()}


def test_every_topic_carries_the_header_of_the_image():
    messages = _built(ColourSegmentor(min_area=1))[1]
    assert list(messages) == ["labels", "anomaly", "anomaly_mask", "overlay", "objects"]
    for message in [*messages.values(), *messages["objects"].detections]:
        assert message.header.stamp == SimpleNamespace(sec=1700000000, nanosec=5)
        assert message.header.frame_id == "front_camera"


def test_images_contain_the_result():
    segmentor = ColourSegmentor()
    result, messages = _built(segmentor)
    pixels = street()
    encodings = {name: messages[name].encoding for name in list(TOPICS)[:4]}
    assert encodings == {
        "labels": "mono8",
        "anomaly": "32FC1",
        "anomaly_mask": "mono8",
        "overlay": "rgb8",
    }
    np.testing.assert_array_equal(array_of(messages["labels"]), pixels[..., 0] % 3)
    expected = np.clip(pixels[..., 2] / 255, 0, 1)
    np.testing.assert_allclose(array_of(messages["anomaly"]), expected, atol=1e-6)
    flagged = np.where(pixels[..., 2] >= 200, 255, 0)
    assert 0 < (flagged > 0).sum() == 20
    np.testing.assert_array_equal(array_of(messages["anomaly_mask"]), flagged)
    np.testing.assert_array_equal(array_of(messages["overlay"]), result.overlay()[..., ::-1])


def test_without_calibration_the_raw_score_is_sent():
    messages = _built(ColourSegmentor(calibrated=False))[1]
    scores = street()[..., 2].astype(np.float32) - 100
    np.testing.assert_array_equal(array_of(messages["anomaly"]), scores)


def test_without_an_operating_point_nothing_is_decided():
    segmentor = ColourSegmentor()
    segmentor.decision_rule = type(segmentor.decision_rule)()
    assert list(_built(segmentor)[1]) == ["labels", "anomaly", "overlay"]
    assert describe(segmentor)["threshold"] == "none"


def test_only_selected_topics_are_composed():
    assert list(_built(ColourSegmentor(), ["objects", "labels"])[1]) == ["objects", "labels"]


def test_object_by_hand():
    messages = _built(ColourSegmentor(min_area=5))[1]
    (found,) = messages["objects"].detections
    # Columns 6..10 and rows 3..6.
    assert (found.bbox.center.position.x, found.bbox.center.position.y) == (8.5, 5.0)
    assert (found.bbox.size_x, found.bbox.size_y, found.bbox.center.theta) == (5.0, 4.0, 0.0)
    (hypothesis,) = found.results
    assert hypothesis.hypothesis.class_id == "unknown"
    assert hypothesis.hypothesis.score == pytest.approx(230 / 255)
    assert hypothesis.pose.pose.orientation.w == 1.0
    assert hypothesis.pose.covariance.shape == (36,)
    assert found.id == ""


def _instance(**changes):
    fields = dict(box=(10, 20, 4, 7), area=9, mean_score=3.0, max_score=4.0, contour=None)
    return Instance(**{**fields, "probability": None, **changes})


@pytest.mark.parametrize(("probability", "score"), [(None, 1.0), (0.25, 0.25), (1.0000002, 1.0)])
def test_object_scores_lie_in_0_1(probability, score):
    message = build(RUNTIME, detections([_instance(probability=probability)], HEADER))
    assert message.detections[0].results[0].hypothesis.score == score


def test_track_is_the_id():
    message = build(RUNTIME, detections([_instance(track=12)], HEADER))
    assert message.detections[0].id == "12"
    assert message.detections[0].bbox.center.position == SimpleNamespace(x=12.0, y=23.5)


def test_a_scene_is_another_class():
    message = build(RUNTIME, detections([_instance(kind="scene"), _instance()], HEADER))
    ids = [one.results[0].hypothesis.class_id for one in message.detections]
    assert ids == ["unknown_scene", "unknown"]


def test_label_info_names_the_classes_and_255():
    info = build(RUNTIME, label_info(ColourSegmentor(), HEADER))
    pairs = [(entry.class_id, entry.class_name) for entry in info.class_map]
    assert pairs == [(0, "road"), (1, "sky"), (2, "car"), (255, "UNLABELED")]
    assert info.threshold == pytest.approx(200 / 255)


def test_label_info_without_calibration_or_operating_point():
    plain, undecided = ColourSegmentor(calibrated=False), ColourSegmentor()
    undecided.decision_rule = type(undecided.decision_rule)()
    for segmentor in (plain, undecided):
        assert build(RUNTIME, label_info(segmentor, HEADER)).threshold == 0.0


@pytest.mark.parametrize(("count", "unlabelled"), [(254, 255), (255, 65535), (256, 65535)])
def test_the_number_of_unlabelled_is_no_class(count, unlabelled):
    segmentor = ColourSegmentor()
    segmentor.palette = Palette(tuple(map(str, range(count))), ((0, 0, 0),) * count)
    numbers = [one.class_id for one in build(RUNTIME, label_info(segmentor, HEADER)).class_map]
    assert numbers == [*range(count), unlabelled]


def test_description_names_the_operating_point():
    described = describe(ColourSegmentor())
    assert described["operating_point"] == "fpr 5%"
    assert described["threshold"] == "100"
    assert described["score"] == "Redness"
    assert PALETTE.classes == ("road", "sky", "car")


def test_stamps_in_seconds_and_in_nanoseconds():
    header = Header.at(1_700_000_003_250_000_000, "camera")
    assert header == Header(1_700_000_003, 250_000_000, "camera")
    assert header.stamp == 1_700_000_003.25
