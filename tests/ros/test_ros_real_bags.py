"""A driving clip as a bag, annotated with ERFNet, read back with another reader."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")
pytest.importorskip("mmseg", reason="mmsegmentation is not installed")

from bag_doubles import CAMERA, PERIOD, T0, camera_bag, read_bag, read_results

import ood_seg.register  # noqa: F401
from ood_seg.ros.bags import annotate
from ood_seg.ros.images import array_of

FRAMES = 3
CONFIG = Path(__file__).parents[2] / "configs/posthoc/energy_fcn-erfnet_cityscapes.py"


@pytest.fixture(scope="module")
def segmentor(real_data):
    from ood_seg.apis.inferencer import AnomalyInferencer

    weights = real_data / "weights" / "erfnet_cityscapes_mmseg.pth"
    # -5 is between the mean energy of known and of pasted pixels of this checkpoint.
    return AnomalyInferencer(CONFIG, weights, "cpu", operating_point=-5.0, min_area=200)


@pytest.fixture(scope="module")
def images(real_data):
    capture = cv2.VideoCapture(str(real_data / "videos" / "udacity_test_video.mp4"))
    images = [capture.read()[1] for _ in range(FRAMES)]
    capture.release()
    return images


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("encoding", ["rgb8", "jpg"])
def test_clip_with_erfnet(tmp_path, segmentor, images, storage, encoding):
    source = camera_bag(tmp_path / "in", images, storage=storage, encoding=encoding)
    summary = annotate(source, tmp_path / "out", segmentor, model="erfnet")
    assert (summary.frames, summary.failures) == (FRAMES, ())
    assert read_bag(tmp_path / "out")[CAMERA] == read_bag(source)[CAMERA]
    results = read_results(tmp_path / "out")
    times = [T0 + 7_000_000 + index * PERIOD for index in range(FRAMES)]
    for topic, count in summary.written.items():
        assert [one.time for one in results[topic]] == times[:count]
        assert [
            one.message.header.stamp.sec * 10**9 + one.message.header.stamp.nanosec
            for one in results[topic]
        ] == [time - 7_000_000 for time in times[:count]]
    if encoding != "rgb8":
        return
    for index, pixels in enumerate(images):
        (prediction,) = segmentor.predict([pixels])
        labels, anomaly, mask = (
            array_of(results[f"/ood_seg/{name}"][index].message)
            for name in ("labels", "anomaly", "anomaly_mask")
        )
        np.testing.assert_array_equal(labels, prediction.labels)
        np.testing.assert_array_equal(anomaly, prediction.anomaly)
        np.testing.assert_array_equal(mask != 0, prediction.anomaly >= np.float32(-5.0))
        objects = results["/ood_seg/objects"][index].message.detections
        assert all(found.bbox.size_x * found.bbox.size_y >= 200 for found in objects)
