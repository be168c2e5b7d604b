"""The face of all runtimes: one image, many, videos, failures, operating points."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image
from perception_scenes import Brightness, grey_image, texture

from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Frame
from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.run.batches import predict_by_size
from ood_seg.perception.run.segmentor import choose_threshold

POINTS = {"fpr 5%": 120.0, "best f1": 90.0}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for index, size in enumerate([(37, 53), (37, 53), (21, 53)]):
        cv2.imwrite(str(tmp_path / "in" / f"{index}.png"), grey_image(texture(*size, index)))
    return tmp_path / "in"


def test_images_of_equal_size_are_one_batch_in_the_given_order():
    sizes = [(37, 53), (21, 53), (37, 53), (21, 53), (37, 54)]
    images = [random_image(seed, *size) for seed, size in enumerate(sizes)]
    segmentor = FakeSegmentor()
    found = predict_by_size([*images[:-1], np.dstack([images[-1], images[-1][..., :1]])],
                            segmentor.predict)  # fmt: skip
    assert segmentor.batches == [2, 2, 1]
    for image, prediction in zip(images, found, strict=True):
        np.testing.assert_array_equal(prediction.anomaly, np.float32(image[..., 0]) / 255)
    with pytest.raises(ValueError, match=r"\(37, 53\)"):
        predict_by_size([images[0][..., 0]], segmentor.predict)


def test_threshold_by_name_by_number_and_by_default():
    assert choose_threshold(None, POINTS) == ("fpr 5%", 120.0)
    assert choose_threshold("best f1", POINTS) == ("best f1", 90.0)
    assert choose_threshold(7, POINTS) == choose_threshold("7", POINTS) == (None, 7.0)
    assert choose_threshold(None, {}) == (None, None)
    assert Brightness(POINTS).operating_point == "fpr 5%"
    assert Brightness(POINTS, operating_point=3).threshold == 3
    with pytest.raises(ValueError, match=r"operating point 'fpr 1%' .*fpr-5%, best-f1"):
        Brightness(POINTS, operating_point="fpr 1%")
    with pytest.raises(ValueError, match=r"operating point 'fpr 1%' .*calibration"):
        Brightness(operating_point="fpr 1%")
    with pytest.raises(ValueError, match=r"operating point: .*inf"):
        Brightness(operating_point=float("inf"))


def test_one_image_is_one_result(folder):
    path = folder / "1.png"
    image = cv2.imread(str(path))
    segmentor = Brightness(POINTS)
    for source in (path, str(path), image):
        result = segmentor(source)
        assert isinstance(result, AnomalyResult)
        np.testing.assert_array_equal(result.anomaly, image[..., 0])
        np.testing.assert_array_equal(result.mask, image[..., 0] >= 120)
        assert result.operating_point == "fpr 5%"
        assert set(result.latency) >= {"decode", "predict", "judge"}
    assert segmentor(path).name == "1"


def test_several_images_are_an_iterator_in_order(folder):
    segmentor = Brightness(POINTS)
    sources = [str(folder / "*.png"), sorted(folder.iterdir()), open_frames(folder)]
    for source in (folder, *sources):
        found = segmentor(source)
        assert next(found).name == "0"
        assert [one.name for one in found] == ["1", "2"]
    assert [one.mask.shape for one in segmentor([np.zeros((5, 6, 3), np.uint8)])] == [(5, 6)]


def test_batches_have_the_requested_size(folder):
    segmentor = Brightness(POINTS)
    results = list(segmentor.stream(folder, batch_size=2))
    assert [one.index for one in results] == [0, 1, 2]
    assert [len(batch) for batch in segmentor.batches] == [2, 1]


def test_sources_that_cannot_be_opened_raise_at_once(folder):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        Brightness()(folder / "none.png")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        Brightness().stream(folder / "none.mp4")
    with pytest.raises(ValueError, match=r"on_failure: .*'ignore'"):
        Brightness().stream(folder, on_failure="ignore")


def test_damaged_images_raise_or_are_skipped(folder):
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes()[:200])
    segmentor, told = Brightness(POINTS), []
    with pytest.raises(ValueError, match=r"1\.png"):
        segmentor(folder / "1.png")
    found = segmentor(folder)
    assert next(found).name == "0"
    with pytest.raises(ValueError, match=r"1\.png"):
        next(found)
    names = [one.name for one in segmentor.stream(folder, on_failure="skip")]
    assert names == ["0", "2"]
    names = [one.name for one in segmentor.stream(folder, on_failure=told.append)]
    assert names == ["0", "2"]
    assert [failure.index for failure in told] == [1]
    assert "1.png" in told[0].message


def test_scores_that_are_not_finite_fail_alone(folder):
    class Broken(Brightness):
        def predict(self, images):
            found = super().predict(images)
            if images[0].shape[0] == 21:
                found[0].anomaly[0, 0] = np.nan
            return found

    told = []
    options = {"on_failure": told.append, "temporal": TemporalFilter(0.5)}
    names = [one.name for one in Broken(POINTS).stream(folder, **options)]
    assert names == ["0", "1"]
    assert "2: 1 anomaly scores are NaN or infinite" in told[0].message


def test_filter_and_tracker_are_reset_for_each_stream(folder):
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 10:20, 0] = 200
    segmentor = Brightness({"half": 150.0}, min_area=10)
    options = {
        "temporal": TemporalFilter(0.5, motion=False),
        "tracker": InstanceTracker(birth=2),
    }
    for _ in range(2):
        results = list(segmentor.stream([image, image, np.zeros_like(image)], **options))
        assert [[one.track for one in r.instances] for r in results] == [[], [1], [1]]
        assert results[2].anomaly[15, 15] == 100
        assert results[2].mask.sum() == 0


def test_filtered_scores_get_the_probability_of_the_model():
    class Calibrated(Brightness):
        def predict(self, images):
            return [p._replace(probability=self.probability(p.anomaly)) for p in
                    super().predict(images)]  # fmt: skip

        def probability(self, scores):
            return (scores / 255) ** 2

    images = [np.full((20, 30, 3), value, np.uint8) for value in (0, 16)]
    last = list(Calibrated().stream(images, temporal=TemporalFilter(0.5)))[-1]
    np.testing.assert_allclose(last.anomaly, 8)
    np.testing.assert_allclose(last.probability, (8 / 255) ** 2, rtol=1e-6)


def test_results_name_the_model_and_the_probability_at_the_threshold():
    class Calibrated(Brightness):
        model_name = "bright"

        def probability(self, scores):
            return scores / np.float32(255)

    image = grey_image(texture(37, 53))
    result = Calibrated(POINTS, boundary_suppression=5)(image)
    assert (result.model, result.threshold_probability) == ("bright", pytest.approx(120 / 255))
    values = result.to_dict()
    assert (values["model"], values["threshold_probability"]) == (
        "bright",
        pytest.approx(120 / 255),
    )
    plain = Brightness(POINTS)
    assert plain.decision_rule.boundary_suppression == 0
    assert (plain(image).model, plain(image).threshold_probability) == ("", None)
    # Another rule for one image, as the service uses it.
    rule = replace(plain.decision_rule, threshold=90.0, operating_point=None)
    (prediction,) = plain.predict([image])
    assert plain.result(Frame(image, "a"), prediction, rule=rule).threshold == 90


def test_the_former_name_of_the_decision_rule_warns():
    segmentor = Brightness(POINTS)
    with pytest.warns(DeprecationWarning, match="decision_rule"):
        rule = segmentor.judge
    assert rule is segmentor.decision_rule
    other = replace(rule, threshold=7.0)
    with pytest.warns(DeprecationWarning, match="decision_rule"):
        segmentor.judge = other
    assert segmentor.threshold == 7


def test_a_single_kind_of_file_may_be_a_string(tmp_path):
    (path,) = FakeSegmentor()(random_image()).save(tmp_path, "labels")
    assert path.name == "image_labels.png"
