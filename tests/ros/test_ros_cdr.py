"""Messages byte for byte against CDR written by hand, and types against the hashes of ROS 2."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ros_doubles import Cdr, ColourSegmentor

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

from ood_seg.perception.core.types import Instance  # noqa: E402
from ood_seg.ros.bag_files import type_store  # noqa: E402
from ood_seg.ros.fields import Header, build, rosbags_runtime  # noqa: E402
from ood_seg.ros.health import Level, diagnostics  # noqa: E402
from ood_seg.ros.images import image_message  # noqa: E402
from ood_seg.ros.messages import detections, label_info  # noqa: E402

HEADER = Header(1700000000, 42, "cam")

# From the code that rosidl generates for vision_msgs 4.x (`..._get_type_hash`); a hash covers the
# names and types of all nested fields.
HASHES = {
    "vision_msgs/msg/Detection2DArray": (
        "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    ),
    "vision_msgs/msg/Detection2D": (
        "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea"
    ),
    "vision_msgs/msg/BoundingBox2D": (
        "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f"
    ),
    "vision_msgs/msg/LabelInfo": (
        "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783"
    ),
    "vision_msgs/msg/VisionClass": (
        "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a"
    ),
    "std_msgs/msg/Header": "f49fb3ae2cf070f793645ff749683ac6b06203e41c891e17701b1cb597ce6a01",
}


@pytest.fixture(scope="module")
def store():
    return type_store()


def _bytes(store, message):
    built = build(rosbags_runtime(store), message)
    return bytes(store.serialize_cdr(built, message.type, little_endian=True))


@pytest.mark.parametrize("name", list(HASHES))
def test_types_are_those_of_ros(store, name):
    assert store.hash_rihs01(name) == f"RIHS01_{HASHES[name]}"


def test_image(store):
    pixels = np.arange(6, dtype=np.float32).reshape(2, 3) / 3
    expected = Cdr().header(1700000000, 42, "cam").put("I", 2, 3).text("32FC1")
    expected.put("B", 0).put("I", 12).octets(pixels.astype("<f4").tobytes())
    assert _bytes(store, image_message(pixels, "32FC1", HEADER)) == expected.bytes()


def test_first_bytes_of_an_image_literally(store):
    data = _bytes(store, image_message(np.uint8([[7]]), "mono8", Header(1, 2, "ab")))
    assert data.hex(" ") == (
        "00 01 00 00 "  # CDR, little endian
        "01 00 00 00 02 00 00 00 "  # stamp
        "03 00 00 00 61 62 00 00 "  # frame, padded
        "01 00 00 00 01 00 00 00 "  # height, width
        "06 00 00 00 6d 6f 6e 6f 38 00 00 00 "  # mono8; then is_bigendian and padding
        "01 00 00 00 01 00 00 00 07"  # step, data
    )


def test_detections(store):
    common = dict(area=9, mean_score=3.0, max_score=4.0, contour=None)
    instances = (
        Instance(box=(10, 20, 4, 7), probability=0.75, track=3, **common),
        Instance(box=(0, 1, 1, 1), probability=None, **common),
    )
    expected = Cdr().header(1700000000, 42, "cam").put("I", 2)
    for score, box, track in (
        (0.75, (12.0, 23.5, 0.0, 4.0, 7.0), "3"),
        (1.0, (0.5, 1.5, 0.0, 1.0, 1.0), ""),
    ):
        expected.header(1700000000, 42, "cam").put("I", 1).text("unknown").put("d", score)
        expected.put("d", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, *[0.0] * 36)
        expected.put("d", *box).text(track)
    assert _bytes(store, detections(instances, HEADER)) == expected.bytes()


def test_no_detections(store):
    expected = Cdr().header(1700000000, 42, "cam").put("I", 0)
    assert _bytes(store, detections((), HEADER)) == expected.bytes()


def test_label_info(store):
    expected = Cdr().header(1700000000, 42, "cam").put("I", 4)
    for number, name in ((0, "road"), (1, "sky"), (2, "car"), (255, "UNLABELED")):
        expected.put("H", number).text(name)
    expected.put("f", np.float32(200 / 255))
    assert _bytes(store, label_info(ColourSegmentor(), HEADER)) == expected.bytes()


def test_diagnostics(store):
    values = {"frames": "12", "last_error": ""}
    message = diagnostics(Level.STALE, "no image", values, HEADER, hardware_id="erfnet.onnx")
    expected = Cdr().header(1700000000, 42, "cam").put("I", 1).put("B", 3)
    expected.text("ood_seg: anomaly segmentation").text("no image").text("erfnet.onnx")
    expected.put("I", 2).text("frames").text("12").text("last_error").text("")
    assert _bytes(store, message) == expected.bytes()


def test_messages_are_read_back(store):
    message = build(rosbags_runtime(store), label_info(ColourSegmentor(), HEADER))
    data = store.serialize_cdr(message, "vision_msgs/msg/LabelInfo")
    read = store.deserialize_cdr(data, "vision_msgs/msg/LabelInfo")
    assert Header.of(read) == HEADER
    assert Header.of(SimpleNamespace(header=read.header)).stamp == pytest.approx(1700000000)
