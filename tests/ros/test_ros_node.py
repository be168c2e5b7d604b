"""The node without ROS: what it subscribes, publishes, refuses and survives."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from ros_doubles import ColourSegmentor, street

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

import array  # noqa: E402

import fake_ros  # noqa: E402

from ood_seg.ros.images import array_of  # noqa: E402

OUTPUTS = ("labels", "anomaly", "anomaly_mask", "overlay", "objects")


@pytest.fixture
def start(monkeypatch):
    """Start a node with these parameters; all are stopped at the end."""
    running = []

    def start(segmentor=None, **parameters):
        fake_ros.install(monkeypatch)
        from ood_seg_ros.node import AnomalyNode

        ros = fake_ros.Node("ood_seg", parameters)
        segmentor = segmentor or ColourSegmentor(min_area=5)
        running.append(AnomalyNode(ros, segmentor))
        return SimpleNamespace(ros=ros, node=running[-1], segmentor=segmentor)

    yield start
    assert all(node.stop() for node in running)


def _show(started, message):
    """Deliver an image and wait until it is done with."""
    health = started.node.health
    before = health.frames + health.failures
    (subscription,) = started.ros.subscriptions.values()
    subscription.callback(message)
    deadline = time.monotonic() + 30
    while health.frames + health.failures == before:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _sent(started, name):
    return started.ros.publishers[f"/ood_seg/{name}"].sent


def _report(started):
    ((period, report),) = started.ros.timers
    assert period == 1.0
    report()
    (status,) = started.ros.publishers["/diagnostics"].sent[-1].status
    return status, {pair.key: pair.value for pair in status.values}


def test_topics_types_and_qos(start):
    ros = start().ros
    kinds = {topic: publisher.kind.TYPE for topic, publisher in ros.publishers.items()}
    assert kinds == {
        "/ood_seg/labels": "sensor_msgs/msg/Image",
        "/ood_seg/anomaly": "sensor_msgs/msg/Image",
        "/ood_seg/anomaly_mask": "sensor_msgs/msg/Image",
        "/ood_seg/overlay": "sensor_msgs/msg/Image",
        "/ood_seg/objects": "vision_msgs/msg/Detection2DArray",
        "/ood_seg/label_info": "vision_msgs/msg/LabelInfo",
        "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    }
    assert ros.publishers["/ood_seg/label_info"].qos.durability == "transient_local"
    (topic,) = ros.subscriptions
    assert topic == "/image"
    assert ros.subscriptions[topic].kind.TYPE == "sensor_msgs/msg/Image"
    assert ros.subscriptions[topic].qos == "sensor_data"


def test_one_image_gives_every_output_with_its_header(start):
    started = start()
    _show(started, fake_ros.image_message(street()))
    for name in OUTPUTS:
        (message,) = _sent(started, name)
        assert message.header.stamp.sec == 1_700_000_000
        assert message.header.frame_id == "front"
    mask = array_of(_sent(started, "anomaly_mask")[0])
    np.testing.assert_array_equal(mask, np.where(street()[..., 2] >= 200, 255, 0))
    assert len(_sent(started, "objects")[0].detections) == 1
    (info,) = _sent(started, "label_info")
    assert info.class_map[-1].class_name == "UNLABELED"


def test_compressed_images(start):
    started = start(image_transport="compressed")
    (topic,) = started.ros.subscriptions
    assert topic == "/image/compressed"
    raw = fake_ros.image_message(street())
    data = array.array("B", cv2.imencode(".png", street())[1].tobytes())
    kind = fake_ros.message_class("sensor_msgs/msg/CompressedImage")
    _show(started, kind(header=raw.header, format="bgr8; png compressed bgr8", data=data))
    labels = array_of(_sent(started, "labels")[0])
    np.testing.assert_array_equal(labels, street()[..., 0] % 3)


def test_bad_frames_are_reported_and_do_not_stop_the_stream(start):
    started = start()
    assert _report(started)[0].level == b"\3"  # no image yet
    bad = [
        fake_ros.image_message(street(), encoding="mono8"),
        fake_ros.image_message(np.zeros((4, 4, 3), np.uint8)),
    ]
    for message, reason in zip(bad, ("got 'mono8'", "the lens is covered"), strict=True):
        _show(started, message)
        status, values = _report(started)
        assert status.level == b"\2"
        assert reason in status.message
        assert reason in values["last_error"]
    assert _sent(started, "labels") == []
    _show(started, fake_ros.image_message(street()))
    status, values = _report(started)
    assert status.level == b"\0"
    assert (values["frames"], values["failures"], values["score"]) == ("1", "2", "Redness")
    assert values["version"]
    assert float(values["latency_mean_ms"]) > 0
    assert status.name == "ood_seg: anomaly segmentation"
    assert len(_sent(started, "labels")) == 1


def test_errors_of_any_kind_do_not_stop_the_node(start):
    started = start()
    predict = started.segmentor.predict
    started.segmentor.predict = lambda images: 1 / 0
    _show(started, fake_ros.image_message(street()))
    assert _report(started)[0].message == "division by zero"
    started.segmentor.predict = predict
    _show(started, fake_ros.image_message(street()))
    assert len(_sent(started, "labels")) == 1


def test_a_camera_that_stops_is_stale(start):
    started = start(max_age=0.05)
    _show(started, fake_ros.image_message(street()))
    time.sleep(0.1)
    status, _ = _report(started)
    assert status.level == b"\3"
    assert "no image for" in status.message


def test_outputs_can_be_switched_off(start):
    started = start(publish_overlay=False)
    started.ros.publishers["/ood_seg/anomaly"].subscribers = 0
    _show(started, fake_ros.image_message(street()))
    assert [name for name in OUTPUTS if _sent(started, name)] == [
        "labels",
        "anomaly_mask",
        "objects",
    ]
    assert started.ros.set_parameters(publish_overlay=True, publish_labels=False).successful
    _show(started, fake_ros.image_message(street()))
    assert [len(_sent(started, name)) for name in ("labels", "overlay")] == [1, 1]


def test_decision_can_be_changed_while_running(start):
    started = start()
    pixels = street()
    _show(started, fake_ros.image_message(pixels))
    # Right half only: the object ends at column 10.
    changes = dict(operating_point=-70.0, min_area=3, region="polygon:10,0;19,0;19,11;10,11")
    assert started.ros.set_parameters(**changes).successful
    _show(started, fake_ros.image_message(pixels))
    first, second = (array_of(message) for message in _sent(started, "anomaly_mask"))
    np.testing.assert_array_equal(first, np.where(pixels[..., 2] >= 200, 255, 0))
    expected = np.where(pixels[..., 2] >= 30, 255, 0)
    expected[:, :10] = 0
    np.testing.assert_array_equal(second, expected)
    thresholds = [info.threshold for info in _sent(started, "label_info")]
    np.testing.assert_allclose(thresholds, [200 / 255, 30 / 255], rtol=1e-6)
    back = dict(operating_point="", min_area=0, region="")
    assert started.ros.set_parameters(**back).successful
    assert started.segmentor.decision_rule.threshold == 100.0
    assert started.segmentor.decision_rule.min_area == 5
    assert started.segmentor.decision_rule.region is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"operating_point": "fpr 1%"}, "operating point 'fpr 1%'.*fpr-5%"),
        ({"operating_point": float("nan")}, "finite"),
        ({"min_area": -1}, "min_area"),
        ({"region": "canal"}, "region: .*'canal'"),
        ({"region": "mask:/nowhere.png"}, "nowhere"),
        ({"max_age": 0.0}, "max_age: .*got 0.0"),
        ({"model": "other.onnx"}, "read-only"),
        ({"min_area": 7, "region": "canal"}, "region: .*'canal'"),
    ],
)
def test_bad_parameters_are_refused_and_change_nothing(start, changes, reason):
    started = start()
    before = started.segmentor.decision_rule
    answer = started.ros.set_parameters(**changes)
    assert not answer.successful
    import re

    assert re.search(reason, answer.reason)
    assert started.segmentor.decision_rule is before
    assert started.ros.parameters["min_area"] == 0


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"image_transport": "theora"}, "expected raw or compressed, got 'theora'"),
        ({"min_area": -1}, "min_area"),
        ({"region": "canal"}, "region: .*'canal'"),
    ],
)
def test_bad_parameters_at_the_start(start, parameters, reason):
    with pytest.raises(ValueError, match=reason):
        start(**parameters)


def test_without_operating_point_no_decision_is_published(start):
    segmentor = ColourSegmentor()
    segmentor.decision_rule = type(segmentor.decision_rule)()
    started = start(segmentor)
    assert started.ros.logged[0][0] == "warning"
    assert "~/objects are not published" in started.ros.logged[0][1]
    _show(started, fake_ros.image_message(street()))
    assert [name for name in OUTPUTS if _sent(started, name)] == ["labels", "anomaly", "overlay"]


def test_a_slow_model_drops_frames_and_reports_them(start):
    started = start()
    predict = started.segmentor.predict
    begun, go_on = threading.Event(), threading.Event()

    def slow(images):
        begun.set()
        assert go_on.wait(30)
        return predict(images)

    started.segmentor.predict = slow
    (subscription,) = started.ros.subscriptions.values()
    for seconds in range(1, 8):
        subscription.callback(fake_ros.image_message(street(), seconds=seconds))
        assert begun.wait(30)
    go_on.set()
    deadline = time.monotonic() + 30
    # A frame may be counted before or after its messages are sent.
    while (
        started.node.health.frames + started.node.health.dropped < 7
        or len(_sent(started, "labels")) < 2
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stamps = [message.header.stamp.sec for message in _sent(started, "labels")]
    assert stamps == [1, 7]
    status, values = _report(started)
    assert status.level == b"\1"
    assert int(values["dropped"]) == 5
