"""`AnomalyInferencer` as a `Segmentor`: batches, calibration, region, smoothing, bad weights."""

import copy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.apis import AnomalyInferencer
from ood_seg.calibration import calibrate
from ood_seg.metrics import ScoreHistogram
from ood_seg.perception.core.types import Frame
from ood_seg.refinement import without_slivers
from ood_seg.smoothing import gaussian_smooth

init_default_scope("mmseg")
PIPELINE = [{"type": "LoadCheckedImage"}, {"type": "PackSegInputs"}]


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def config(pipeline=PIPELINE, **changes):
    return Config({"model": tiny.model_config(**changes), "test_pipeline": pipeline})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": tiny.build().state_dict()}, path)
    return str(path)


@pytest.fixture(scope="module")
def calibration():
    scores = np.random.default_rng(0).normal(-4, 2, (64, 64)).astype(np.float32)
    anomalous = scores + np.random.default_rng(1).normal(size=scores.shape) > -3
    histograms = [ScoreHistogram.from_scores(scores, anomalous)]
    points = ["fpr 10%", "best f1"]
    return calibrate(histograms, score="Energy", data_set="noise", points=points)


def test_scores_are_the_energy_of_the_network(weights):
    image = random_image(24, 32)
    (found,) = AnomalyInferencer(config(), weights, "cpu").predict([image])
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    model = tiny.build()
    with torch.no_grad():
        logits = model.decode_head(model.backbone((rgb - 127.5) / 64.0))
        logits = torch.nn.functional.interpolate(logits, (24, 32), mode="bilinear")
    np.testing.assert_allclose(found.anomaly, -torch.logsumexp(logits, 1)[0], rtol=1e-4, atol=1e-5)
    assert (found.labels == logits.argmax(1)[0].numpy()).mean() > 0.999
    assert found.probability is None


def test_images_of_one_size_run_together_and_come_back_in_order(weights):
    images = [
        random_image(24, 32, 0),
        random_image(17, 39, 1),
        random_image(24, 32, 2),
        random_image(17, 39, 3),
    ]
    inferencer = AnomalyInferencer(config(), weights, "cpu")
    sizes = []
    inferencer.model.backbone.register_forward_hook(lambda *a: sizes.append(len(a[1][0])))
    together = inferencer.predict(images)
    assert sizes == [2, 2]
    for image, found in zip(images, together, strict=True):
        (alone,) = inferencer.predict([image])
        assert found.anomaly.shape == found.labels.shape == image.shape[:2]
        assert (found.anomaly.dtype, found.labels.dtype) == (np.float32, np.uint8)
        np.testing.assert_allclose(found.anomaly, alone.anomaly, rtol=1e-4, atol=1e-5)
    assert inferencer.predict([]) == []


def test_pipelines_that_load_floats_are_given_floats(weights):
    pipeline = [{"type": "LoadCheckedImage", "to_float32": True}, PIPELINE[1]]
    (expected,), (found,) = (
        AnomalyInferencer(config(p), weights, "cpu").predict([random_image(24, 32)])
        for p in (PIPELINE, pipeline)
    )
    np.testing.assert_array_equal(found.anomaly, expected.anomaly)


def test_a_size_that_the_pipeline_cannot_prepare_is_named(weights):
    """Scaled to the width of the network, its height is 0."""
    resize = {"type": "Resize", "scale": (64, 32), "keep_ratio": True}
    inferencer = AnomalyInferencer(config([PIPELINE[0], resize, PIPELINE[1]]), weights, "cpu")
    with pytest.raises(ValueError, match=r"image of 1x3000 \(height x width\): error: .*resize"):
        inferencer(np.zeros((1, 3000, 3), np.uint8))


def test_tensors_are_a_type_error_at_once(weights):
    inferencer = AnomalyInferencer(config(), weights, "cpu")
    tensor = torch.zeros(3, 24, 32, dtype=torch.uint8)
    for source in (tensor, [tensor]):
        with pytest.raises(TypeError, match=r"NumPy array .*got Tensor"):
            inferencer(source)
        with pytest.raises(TypeError, match="NumPy array, got Tensor"):
            inferencer.predict([tensor])


def test_one_image_and_a_list(weights):
    inferencer = AnomalyInferencer(config(), weights, "cpu", operating_point=-4.0, min_area=1)
    image = random_image(24, 32)
    (prediction,) = inferencer.predict([image])
    result = inferencer(image)
    np.testing.assert_array_equal(result.anomaly, prediction.anomaly)
    np.testing.assert_array_equal(result.mask, prediction.anomaly >= np.float32(-4.0))
    assert (result.threshold, result.operating_point) == (-4.0, None)
    assert result.score_name == "Energy"
    assert sum(one.area for one in result.instances) == result.mask.sum()
    results = list(inferencer([image, random_image(17, 39)]))
    assert [one.mask.shape for one in results] == [(24, 32), (17, 39)]


def test_calibration_gives_probabilities_and_thresholds(weights, calibration):
    inferencer = AnomalyInferencer(config(), weights, "cpu", calibration, "best f1")
    point = calibration.point("best f1")
    result = inferencer(random_image(24, 32))
    assert (result.operating_point, result.threshold) == ("best f1", point.threshold)
    np.testing.assert_array_equal(result.probability, calibration.probability(result.anomaly))
    np.testing.assert_array_equal(result.mask, result.anomaly >= np.float32(point.threshold))
    assert list(inferencer.thresholds) == ["fpr 10%", "best f1"]
    first = AnomalyInferencer(config(), weights, "cpu", calibration)
    assert first.operating_point == "fpr 10%"
    number = AnomalyInferencer(config(), weights, "cpu", calibration, "-3.5")
    assert (number.operating_point, number.threshold) == (None, -3.5)
    scores = np.float32([[-9, 0]])
    expected = calibration.probability(scores)
    np.testing.assert_array_equal(inferencer.probability(scores), expected)
    facts = inferencer.calibration_facts()
    assert (facts["method"], facts["data_set"]) == (calibration.method, calibration.data_set)
    assert facts["parameters"] == asdict(calibration.curve)


def test_smallest_object_is_that_of_the_calibration_unless_given(weights, calibration):
    counted = replace(calibration, min_area=7)
    for made, given, expected in ((counted, None, 7), (counted, 3, 3), (None, None, 50)):
        inferencer = AnomalyInferencer(config(), weights, "cpu", made, min_area=given)
        assert inferencer.decision_rule.min_area == expected


def test_operating_points_that_do_not_exist(weights, calibration):
    with pytest.raises(ValueError, match=r"operating point 'tpr 5%'.*fpr-10%, best-f1"):
        AnomalyInferencer(config(), weights, "cpu", calibration, "tpr 5%")
    with pytest.raises(ValueError, match=r"'best f1'.*calibration"):
        AnomalyInferencer(config(), weights, "cpu", operating_point="best f1")
    with pytest.raises(ValueError, match="got nan"):
        AnomalyInferencer(config(), weights, "cpu", operating_point="nan")


def test_region_names_the_classes_of_the_model(weights):
    classes = {"classes": list("abcde")}
    cfg = config()
    cfg.train_dataloader = {"dataset": {"metainfo": classes, "type": "BaseSegDataset"}}
    inferencer = AnomalyInferencer(cfg, weights, "cpu", operating_point=-100, region="b,d")
    result = inferencer(random_image(24, 32))
    np.testing.assert_array_equal(result.mask == 1, result.region)
    assert inferencer.palette.classes == tuple("abcde")
    with pytest.raises(ValueError, match=r"region: .*a, b, c, d, e.*'road'"):
        AnomalyInferencer(cfg, weights, "cpu", region="road")


def test_smoothing_of_the_config_is_replaced(weights, calibration):
    smooth = {"type": "EnergyHead", "smoothing": {"kernel_size": 5, "sigma": 1.0}}
    image = random_image(24, 32)

    def scores(smoothing, **changes):
        inferencer = AnomalyInferencer(config(**changes), weights, "cpu", smoothing=smoothing)
        return inferencer.predict([image])[0].anomaly

    raw = scores(None)
    for sigma, found in (
        (1.0, scores(None, energy_head=smooth)),
        (2.0, scores({"kernel_size": 5, "sigma": 2.0}, energy_head=smooth)),
        (2.0, scores({"kernel_size": 5, "sigma": 2.0})),
    ):
        expected = gaussian_smooth(torch.from_numpy(raw)[None], 5, sigma)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores(False, energy_head=smooth), raw)
    with pytest.warns(UserWarning, match=r"calibration.*another smoothing"):
        AnomalyInferencer(config(), weights, "cpu", calibration, smoothing={"kernel_size": 3})
    with pytest.raises(ValueError, match=r"smoothing.*got True"):
        scores(True)
    with pytest.raises(ValueError, match="kernel_size"):
        scores({"kernel_size": 4})


def test_weights_that_are_not_finite_are_refused(tmp_path):
    state = tiny.build().state_dict()
    for value in (float("nan"), float("inf")):
        broken = copy.deepcopy(state)
        broken["decode_head.conv_seg.bias"][2] = value
        torch.save({"state_dict": broken}, tmp_path / "broken.pth")
        with pytest.raises(ValueError, match=r"broken\.pth.*decode_head\.conv_seg\.bias.*NaN"):
            AnomalyInferencer(config(), tmp_path / "broken.pth", "cpu")


def test_scores_that_overflow_name_the_image(weights):
    inferencer = AnomalyInferencer(config(), weights, "cpu")
    with torch.no_grad():
        inferencer.model.decode_head.conv_seg.bias[0] = float("inf")
    (prediction,) = inferencer.predict([random_image(24, 32)])
    with pytest.raises(ValueError, match=r"drive_3.*768.*NaN"):
        inferencer.result(Frame(random_image(24, 32), "drive_3"), prediction)


def test_scores_of_input_gradients_run(weights):
    head = {"type": "EnergyHead", "score": {"type": "ODIN"}}
    inferencer = AnomalyInferencer(config(energy_head=head), weights, "cpu")
    (found,) = inferencer.predict([random_image(24, 32)])
    assert np.isfinite(found.anomaly).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"expected three colour channels, got one \(shape \(4, 5\)"),
        (np.zeros((4, 5, 3), np.uint16), r"expected 8 bits \(uint8\), got uint16"),
        (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
    ],
)
def test_bad_arrays_are_refused(weights, image, message):
    with pytest.raises(ValueError, match=message):
        AnomalyInferencer(config(), weights, "cpu").predict([image])


def test_a_refined_score_needs_a_calibration_of_its_own(weights, calibration):
    arguments = (config(), weights, "cpu")
    with pytest.raises(ValueError, match=r"score 'Energy', but the scores are 'Energy\+slivers'"):
        AnomalyInferencer(*arguments, calibration, refinement="slivers")
    own = replace(calibration, score="Energy+slivers")
    with pytest.raises(ValueError, match=r"score 'Energy\+slivers', but the scores are 'Energy'"):
        AnomalyInferencer(*arguments, own)
    refined = AnomalyInferencer(*arguments, own, "best f1", refinement="slivers")
    result = refined(random_image(24, 32))
    plain = AnomalyInferencer(*arguments)(random_image(24, 32))
    expected = without_slivers(plain.anomaly, plain.labels, width=15)
    np.testing.assert_array_equal(result.anomaly, expected)
    np.testing.assert_array_equal(result.probability, own.probability(expected))
    origin = refined.map_origin()
    assert (origin.score, origin.refinement) == (
        "Energy+slivers",
        [{"type": "slivers", "width": 15}],
    )
