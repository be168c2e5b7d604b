"""The node on the wire: another process is camera and listener, over DDS on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ros_doubles import ColourSegmentor, street

pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")
pytest.importorskip("cyclonedds", reason="cyclonedds is not installed")

import dds_types
import fake_ros
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader

from ood_seg.perception.core.types import Instance
from ood_seg.ros.fields import Header, Runtime, build, rclpy_runtime, rosbags_runtime
from ood_seg.ros.health import Level, diagnostics
from ood_seg.ros.images import array_of, image_message
from ood_seg.ros.messages import detections, label_info

HERE = Path(__file__).parent
DOMAIN = 20 + os.getpid() % 200
HEADER = Header(1_700_000_000, 42, "cam")
_BOX = Instance((1, 2, 3, 4), 9, 1.0, 2.0, 0.5, None, 7)


@pytest.fixture
def participant(monkeypatch):
    monkeypatch.setenv("CYCLONEDDS_URI", dds_types.LOOPBACK)
    try:
        return dds_types.open_participant(DOMAIN)
    except Exception as error:  # whatever the library says: no loopback, no ports
        pytest.skip(f"cyclonedds cannot start here: {error}")


@pytest.mark.parametrize(
    "message",
    [
        image_message(np.arange(6, dtype=np.float32).reshape(2, 3), "32FC1", HEADER),
        detections((_BOX, _BOX), HEADER),
        label_info(ColourSegmentor(), HEADER),
        diagnostics(Level.ERROR, "broken", {"a": "b"}, HEADER),
    ],
    ids=lambda message: message.type.rpartition("/")[2],
)
def test_idl_types_and_ros_types_give_the_same_bytes(message):
    runtime = Runtime(
        dds_types.idl_class, octets=lambda v: v.tobytes(), byte=lambda value: bytes([value])
    )
    if message.type.endswith("Image"):
        runtime = Runtime(lambda name: dds_types.KINDS[name], octets=lambda v: v.tobytes())
    store = fake_ros.STORE
    ros = store.serialize_cdr(
        build(rosbags_runtime(store), message), message.type, little_endian=True
    )
    dds = build(runtime, message).serialize()
    # DDS says in its fourth byte how much padding ends the message; ROS 2 leaves it at 0.
    padding = dds[3] & 3
    assert dds[4 : len(dds) - padding] == bytes(ros)[4:]
    assert dds[:2] == bytes(ros)[:2] == b"\0\1"


class _DdsNode(fake_ros.Node):
    """A node whose topics are DDS topics."""

    participant = None

    def make_publisher(self, kind, topic, qos):
        latched = getattr(qos, "durability", "") == "transient_local"
        quality = dds_types.LATCHED if latched else dds_types.USUAL
        place = dds_types.topic(self.participant, topic, kind.KIND)
        writer = DataWriter(self.participant, place, quality)
        return SimpleNamespace(publish=writer.write, get_subscription_count=lambda: 1)

    def resolve(self, topic):
        return "/camera/image_raw" if topic == "image" else super().resolve(topic)

    def create_subscription(self, kind, topic, callback, qos):
        assert qos == "sensor_data"
        place = dds_types.topic(self.participant, self.resolve(topic), kind.KIND)
        self.reader = DataReader(self.participant, place, dds_types.SENSOR_DATA)
        self.callback = callback

    def spin(self, until):
        reported = 0.0
        while not until():
            for message in self.reader.take(5):
                self.callback(message)
            if time.monotonic() - reported > 0.5:
                reported = time.monotonic()
                for _, report in self.timers:
                    report()
            time.sleep(0.01)


def test_node_over_dds(monkeypatch, participant):
    fake_ros.install(monkeypatch, classes=dds_types.idl_class)
    from ood_seg_ros.node import AnomalyNode

    assert rclpy_runtime().find("sensor_msgs/msg/Image").KIND is dds_types.Image
    ros = _DdsNode("ood_seg", {})
    ros.participant = participant
    node = AnomalyNode(ros, ColourSegmentor(min_area=5))
    done = threading.Event()
    spinning = threading.Thread(target=ros.spin, args=(done.is_set,))
    spinning.start()
    try:
        heard = _other_process()
    finally:
        done.set()
        spinning.join(10)
        assert node.stop()
    _check(heard)


def _other_process():
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(HERE / "dds_camera.py"), str(DOMAIN), "20"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    heard = json.loads(ended.stdout)
    silent = [name for name, messages in heard.items() if not messages]
    if len(silent) == len(heard):
        pytest.skip("no DDS traffic between two processes on the loopback here")
    assert not silent
    return {name: messages[0] for name, messages in heard.items()}


def _check(heard):
    pixels = street()
    expected = {
        "labels": pixels[..., 0] % 3,
        "anomaly_mask": np.where(pixels[..., 2] >= 200, 255, 0),
        "anomaly": np.float32(pixels[..., 2]) / 255,
    }
    for name, values in expected.items():
        fields = heard[f"/ood_seg/{name}"]
        data = fields["data"]
        data = bytes.fromhex(data) if isinstance(data, str) else bytes(data)
        message = SimpleNamespace(**{**fields, "data": data})
        np.testing.assert_allclose(array_of(message), values, atol=1e-6)
        assert fields["header"]["frame_id"] == "front"
        assert fields["header"]["stamp"]["sec"] > 1_700_000_000
        assert fields["header"]["stamp"]["nanosec"] == 77
    (found,) = heard["/ood_seg/objects"]["detections"]
    assert found["bbox"]["center"]["position"] == {"x": 8.5, "y": 5.0}
    assert found["results"][0]["hypothesis"]["class_id"] == "unknown"
    assert found["results"][0]["hypothesis"]["score"] == pytest.approx(230 / 255)
    classes = heard["/ood_seg/label_info"]["class_map"]
    assert [one["class_id"] for one in classes] == [0, 1, 2, 255]
    (status,) = heard["/diagnostics"]["status"]
    assert status["name"] == "ood_seg: anomaly segmentation"
