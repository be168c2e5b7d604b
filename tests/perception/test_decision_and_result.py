"""Decisions, and the object that carries them."""

import json

import cv2
import numpy as np
import pytest
from perception_scenes import PALETTE, decided, grey_image, predict, texture

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.regions import PolygonRegion
from ood_seg.perception.core.types import Frame


def image_with(**blocks):
    """Black 20 x 30 image; each block is `score=(top, left, height, width)`."""
    image = np.zeros((20, 30, 3), np.uint8)
    for score, (top, left, height, width) in blocks.items():
        image[top : top + height, left : left + width, 0] = int(score[1:])
    return image


SCENE = image_with(s100=(2, 3, 4, 5), s200=(3, 4, 1, 1), s150=(12, 20, 2, 2))


def test_mask_and_instances_by_hand():
    result = decided(SCENE, 100, min_area=5, name="a/b", index=7)
    np.testing.assert_array_equal(result.mask, (SCENE[..., 0] >= 100).astype(np.uint8))
    assert result.mask.dtype == np.uint8
    (one,) = result.instances  # the other has four pixels; it stays in the mask
    assert (one.box, one.area, one.mean_score, one.max_score) == ((3, 2, 5, 4), 20, 105, 200)
    assert result.mask[12, 20] == 1
    assert [(r.area, r.mean_score) for r in decided(SCENE, 100).instances] == [(4, 150), (20, 105)]


def test_threshold_is_compared_in_float32():
    prediction = predict(SCENE)
    prediction.anomaly[:] = np.float32(0.1)
    for threshold, flagged in ((0.1, 1), (np.nextafter(np.float32(0.1), np.float32(1)), 0)):
        decide = DecisionRule(float(threshold), min_area=1)
        result = decide(Frame(SCENE, "a"), prediction, palette=PALETTE, score_name="Blue")
        assert (result.mask == flagged).all()


def test_region_limits_mask_instances_and_numbers():
    region = PolygonRegion(((0, 0), (29, 0), (29, 9), (0, 9)))  # the upper ten rows
    result = decided(SCENE, 100, region=region)
    assert result.mask[12, 20] == 0
    assert len(result.instances) == 1
    assert result.region.sum() == 300
    values = result.to_dict()
    assert values["flagged_share"] == 20 / 300
    assert values["max_score"] == 200
    lower = decided(SCENE, 100, region=PolygonRegion(((0, 10), (29, 10), (29, 19), (0, 19))))
    assert lower.to_dict()["max_score"] == 150
    empty = decided(SCENE, 100, region=lambda labels: labels > 9).to_dict()
    assert empty["max_score"] is empty["flagged_share"] is None


def test_without_a_threshold_nothing_is_decided():
    result = decided(SCENE, None)
    assert result.mask is None
    assert result.instances == ()
    values = result.to_dict()
    assert values["threshold"] is values["flagged_share"] is None
    assert result.overlay().shape == SCENE.shape


def test_values_are_json_by_the_schema():
    result = decided(SCENE, 100, name="a/b", index=7)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    contours = [one.pop("contour") for one in values["instances"]]
    assert values == {
        "schema": "ood_seg.result/1",
        "name": "a/b",
        "index": 7,
        "stamp": None,
        "size": [20, 30],
        "score": "Blue",
        "operating_point": None,
        "threshold": 100,
        "threshold_probability": None,
        "model": "",
        "flagged_share": 24 / 600,
        "max_score": 200,
        "instances": [
            {
                "box": [20, 12, 2, 2],
                "area": 4,
                "mean_score": 150,
                "max_score": 150,
                "probability": None,
                "track": None,
                "kind": "object",
            },
            {
                "box": [3, 2, 5, 4],
                "area": 20,
                "mean_score": 105,
                "max_score": 200,
                "probability": None,
                "track": None,
                "kind": "object",
            },
        ],
        "latency": {},
    }
    assert sorted(map(tuple, contours[1])) == [(3, 2), (3, 5), (7, 2), (7, 5)]


def test_scores_and_arrays_of_the_wrong_kind_name_the_image():
    prediction = predict(SCENE)
    frame = Frame(SCENE, "drive_0007")

    def decide(**changes):
        changed = prediction._replace(**changes)
        return DecisionRule(100)(frame, changed, palette=PALETTE, score_name="Blue")

    scores = prediction.anomaly.copy()
    scores[0, :3] = np.nan, np.inf, -np.inf
    with pytest.raises(ValueError, match="drive_0007: 3 anomaly scores are NaN or infinite"):
        decide(anomaly=scores)
    with pytest.raises(ValueError, match=r"drive_0007: anomaly: expected \(20, 30\) of float32, g"):
        decide(anomaly=scores.astype(np.float64))
    with pytest.raises(ValueError, match=r"labels: expected .* of uint8 .*, got \(19, 30\) of"):
        decide(labels=prediction.labels[1:])
    with pytest.raises(ValueError, match=r"probability: expected .*, got None of list"):
        decide(probability=[0.5])
    with pytest.raises(ValueError, match="threshold: expected a finite score, got nan"):
        DecisionRule(float("nan"))
    with pytest.raises(ValueError, match="min_area, in pixels, must be at least 1; got 0"):
        DecisionRule(1.0, min_area=0)


def test_files_are_what_was_computed(tmp_path):
    image = grey_image(texture(37, 53))
    result = decided(image, 150, name="city/street.7")
    kinds = ("overlay", "labels", "scores", "mask", "json")
    files = result.save(tmp_path, kinds)
    names = ("_overlay.png", "_labels.png", "_scores.npy", "_mask.png", ".json")
    assert files == [tmp_path / "city" / f"street.7{end}" for end in names]
    assert sorted(tmp_path.rglob("*.*")) == sorted(files)  # no unfinished ones
    read = {k: cv2.imread(str(f), cv2.IMREAD_UNCHANGED) for k, f in zip(kinds, files, strict=True)}
    np.testing.assert_array_equal(read["overlay"], result.overlay())
    np.testing.assert_array_equal(read["labels"], result.labels)
    np.testing.assert_array_equal(read["mask"], result.mask * 255)
    np.testing.assert_array_equal(np.load(files[2]), result.anomaly)
    assert np.load(files[2]).dtype == np.float32
    assert json.loads(files[4].read_text()) == result.to_dict()


def test_a_notebook_shows_the_overlay():
    result = decided(grey_image(texture(37, 53)), 150, name="city/street.7")
    shown = cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(shown, result.overlay())
    # A front end that shows text only gets the facts, not the arrays.
    assert "city/street.7" in repr(result)
    assert len(repr(result)) < 500


def test_plot_is_rgb_and_overlay_is_bgr(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 2] = 255  # red
    result = decided(image, None)
    assert result.overlay("decision")[0, 0].tolist() == [0, 0, 255]
    assert result.plot(style="decision")[0, 0].tolist() == [255, 0, 0]
    np.testing.assert_array_equal(result.plot(alpha=0.3), result.overlay(alpha=0.3)[..., ::-1])
    result.plot(tmp_path / "red.png", style="decision")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "red.png")), image)


def test_the_figure_has_the_range_asked_for():
    pytest.importorskip("matplotlib")
    figure = decided(grey_image(texture(37, 53)), 150).figure((10.0, 90.0))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["image", "labels", "anomaly score"]
    assert figure.axes[3].get_ylim() == (10.0, 90.0)  # the colour bar


def test_the_figure_is_among_the_files(tmp_path):
    pytest.importorskip("matplotlib")
    (path,) = decided(grey_image(texture(37, 53)), 150, name="a").save(tmp_path, ["anomaly"])
    height, width = cv2.imread(str(path)).shape[:2]
    assert path.name == "a_anomaly.png"
    assert width > 2.5 * height  # three panels side by side


def test_unavailable_files_are_refused_before_anything_is_written(tmp_path):
    result = decided(SCENE, None, name="a")
    for kind, message in (
        ("picture", "kinds: .*overlay, anomaly, labels.* 'picture'"),
        ("mask", "a: no mask .*operating point"),
        ("probability", "a: no probability .*calibration"),
    ):
        with pytest.raises(ValueError, match=message):
            result.save(tmp_path, ["scores", kind])
    assert not list(tmp_path.iterdir())
