"""Bags, topics and targets that are refused, and what counts as a bag."""

from __future__ import annotations

import numpy as np
import pytest
from ros_doubles import ColourSegmentor, street

rosbags = pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

from bag_doubles import (  # noqa: E402
    CAMERA,
    T0,
    camera_bag,
    image,
    text,
    write_bag,
)

from ood_seg.perception.io.frames import is_bag  # noqa: E402
from ood_seg.ros.bags import annotate  # noqa: E402

IMAGES = [street(seed=seed) for seed in range(4)]
OUTPUTS = ("labels", "anomaly", "anomaly_mask", "overlay", "objects")


def test_several_cameras_are_listed(tmp_path):
    kind = "sensor_msgs/msg/Image"
    messages = [(f"/{side}/image", kind, T0, image(IMAGES[0], T0)) for side in ("left", "right")]
    messages.append(("/note", "std_msgs/msg/String", T0, text("a")))
    source = write_bag(tmp_path / "in", messages)
    target = tmp_path / "out"
    with pytest.raises(ValueError, match=r"topic: .*/left/image, /right/image$"):
        annotate(source, target, ColourSegmentor())
    for topic in ("/note", "/middle/image"):
        with pytest.raises(ValueError, match=f"topic: .*/left/image, /right/image; got {topic}"):
            annotate(source, target, ColourSegmentor(), topic=topic)
    assert list(tmp_path.iterdir()) == [source]
    assert annotate(source, target, ColourSegmentor(), topic="right/image").topic == "/right/image"


def test_no_camera_at_all(tmp_path):
    source = write_bag(tmp_path / "in", [("/note", "std_msgs/msg/String", T0, text("a"))])
    with pytest.raises(ValueError, match=r"topic: .*none"):
        annotate(source, tmp_path / "out", ColourSegmentor())


def test_nothing_is_overwritten(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES[:1])
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there exists"):
        annotate(source, tmp_path / "there", ColourSegmentor())
    (tmp_path / "half.part").mkdir()
    with pytest.raises(ValueError, match=r"half\.part exists"):
        annotate(source, tmp_path / "half", ColourSegmentor())


def test_unknown_output(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES[:1])
    with pytest.raises(ValueError, match=r"expected some of labels, .*, got 'depth'"):
        annotate(source, tmp_path / "out", ColourSegmentor(), outputs=["labels", "depth"])


@pytest.mark.parametrize("namespace", ["", "/", "/front camera", "/1st", "/a//b", "~/a"])
def test_a_namespace_must_be_a_ros_name(namespace, tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES[:1])
    with pytest.raises(ValueError, match="expected a ROS name such as /front_camera, got"):
        annotate(source, tmp_path / "out", ColourSegmentor(), namespace=namespace)


def test_what_is_a_bag(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES[:1])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "metadata.yaml").write_text("title: holidays\n")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "a.png").write_bytes(b"")
    assert is_bag(source)
    assert is_bag(str(source))
    assert is_bag(tmp_path / "old.bag")
    for other in (tmp_path / "photos", tmp_path / "a.png", "rtsp://camera/1", 0, ["a.mcap"]):
        assert not is_bag(other)
    assert not is_bag(tmp_path / "missing.mcap")
    assert not is_bag(np.zeros((2, 2, 3), np.uint8))


def test_bags_that_cannot_be_read(tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    (tmp_path / "other.mcap").write_bytes(b"no recording at all, but long enough to look at")
    (tmp_path / "other.db3").write_bytes(b"no recording at all, but long enough to look at")
    with pytest.raises(ValueError, match="ROS 1 bag; convert it first: rosbags-convert"):
        annotate(tmp_path / "old.bag", tmp_path / "out", ColourSegmentor())
    for name in ("other.mcap", "other.db3"):
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            annotate(tmp_path / name, tmp_path / "out", ColourSegmentor())
    with pytest.raises(FileNotFoundError, match="missing"):
        annotate(tmp_path / "missing", tmp_path / "out", ColourSegmentor())
    assert not (tmp_path / "out").exists()


def test_empty_topic(tmp_path):
    from rosbags.rosbag2 import Writer

    from ood_seg.ros.bag_files import type_store

    with Writer(tmp_path / "in", version=8) as writer:
        writer.add_connection(CAMERA, "sensor_msgs/msg/Image", typestore=type_store())
    with pytest.raises(ValueError, match=f"topic {CAMERA} has no messages"):
        annotate(tmp_path / "in", tmp_path / "out", ColourSegmentor())
