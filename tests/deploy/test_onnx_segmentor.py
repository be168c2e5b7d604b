"""`OnnxAnomalySegmentor` agrees with torch, runs without it, and refuses files it cannot read."""

import json
from dataclasses import replace

import cv2
import exported_tiny as tiny_export
import numpy as np
import onnx
import pytest
from blocking import run_blocked

from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.deploy import ModelCard, OnnxAnomalySegmentor
from ood_seg.deploy.onnx_segmentor import _check_scaled
from ood_seg.export.onnx_file import set_properties
from ood_seg.refinement import Evidence, Refinement

BLOCKED = {"torch", "mmengine", "mmcv", "mmseg", "matplotlib", "PIL", "onnx", "scipy", "sklearn"}
WITHOUT_TORCH = """
import sys
from ood_seg.deploy import OnnxAnomalySegmentor

segmentor = OnnxAnomalySegmentor(sys.argv[1], operating_point="tpr 95%", threads=1)
result = segmentor(sys.argv[2])
result.save(sys.argv[3])
text = result.to_dict()
print(text["operating_point"], result.labels.shape, float(result.anomaly.mean()))
"""


@pytest.fixture(scope="module")
def segmentor(exported):
    return OnnxAnomalySegmentor(exported["model"])


@pytest.fixture(scope="module")
def inferencer(exported):
    calibration = exported["calibration"]
    return AnomalyInferencer(tiny_export.config(), exported["weights"], "cpu", calibration)


def test_predictions_equal_those_of_torch(segmentor, inferencer):
    sizes = [(48, 64), (37, 101), (48, 64), (90, 33)]
    images = [tiny_export.made_up_image(*size, seed) for seed, size in enumerate(sizes)]
    for found, expected in zip(segmentor.predict(images), inferencer.predict(images), strict=True):
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.anomaly, expected.anomaly, atol=1e-4)
        # Of its own scores, because the curve is steep in places.
        probability = inferencer.probability(found.anomaly)
        np.testing.assert_allclose(found.probability, probability, atol=1e-4)
        np.testing.assert_allclose(segmentor.probability(found.anomaly), probability, atol=1e-3)


def test_images_of_one_size_run_as_one_batch(exported, monkeypatch):
    segmentor, shapes = OnnxAnomalySegmentor(exported["model"]), []
    run = segmentor._run

    def watched(image):
        shapes.append(image.shape)
        return run(image)

    monkeypatch.setattr(segmentor, "_run", watched)
    sizes = [(20, 30), (40, 50), (20, 30)]
    found = segmentor.predict([tiny_export.made_up_image(*size) for size in sizes])
    assert shapes == [(2, 20, 30, 3), (1, 40, 50, 3)]
    assert [prediction.labels.shape for prediction in found] == sizes


def test_results_and_operating_points(exported, segmentor, inferencer):
    image = tiny_export.made_up_image(60, 80)
    result, expected = segmentor(image), inferencer(image)
    assert result.operating_point == "fpr 5%"
    assert segmentor.thresholds == pytest.approx(inferencer.thresholds)
    assert segmentor.palette.classes == inferencer.palette.classes
    assert segmentor.calibration_facts() == json.loads(json.dumps(inferencer.calibration_facts()))
    np.testing.assert_array_equal(result.mask, expected.mask)
    assert (result.mask == (result.anomaly >= np.float32(result.threshold))).all()
    free = OnnxAnomalySegmentor(exported["model"], operating_point=-2.5)
    assert free(image).threshold == -2.5
    with pytest.raises(ValueError, match=r"operating point 'fpr 7%'.*fpr-5%"):
        OnnxAnomalySegmentor(exported["model"], operating_point="fpr 7%")


def test_it_runs_with_numpy_opencv_and_onnxruntime_only(exported, segmentor, tmp_path):
    image = tmp_path / "street.png"
    cv2.imwrite(str(image), tiny_export.made_up_image(33, 47))
    run = run_blocked(BLOCKED, WITHOUT_TORCH, exported["model"], image, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    point, _, rest = run.stdout.partition("% ")
    assert point == "tpr 95"
    assert rest.startswith("(33, 47)")
    assert float(rest.split()[-1]) == pytest.approx(float(segmentor(image).anomaly.mean()))
    assert list((tmp_path / "out").iterdir())


def test_openvino_agrees(exported, segmentor):
    pytest.importorskip("openvino")
    other = OnnxAnomalySegmentor(exported["model"], runtime="openvino", threads=1)
    for size in ((48, 64), (37, 101)):
        image = tiny_export.made_up_image(*size)
        found, expected = (one.predict([image, image])[1] for one in (other, segmentor))
        assert (found.labels == expected.labels).mean() > 0.999
        np.testing.assert_allclose(found.anomaly, expected.anomaly, atol=1e-3)
    assert other.thresholds == segmentor.thresholds


def test_images_too_thin_for_the_network_are_refused():
    size = {"kind": "keep_ratio", "height": 48, "width": 64}
    card = replace(card_without_calibration(), size=size)
    for shape in ((1, 128), (128, 1), (48, 64), (7, 500)):
        _check_scaled(card, *shape)
    for shape in ((1, 129), (3000, 1)):
        with pytest.raises(ValueError, match=f"{shape[0]}x{shape[1]} .* 48x64 .* 0 pixels"):
            _check_scaled(card, *shape)
    _check_scaled(card_without_calibration(), 1, 3000)  # the image's own size


def test_openvino_is_imported_without_its_telemetry(exported):
    """Which sends at the import, from a process that prints a traceback without network."""
    pytest.importorskip("openvino")
    program = (
        "import sys; from ood_seg.deploy import OnnxAnomalySegmentor as Segmentor\n"
        "Segmentor(sys.argv[1], runtime='openvino', threads=1)\n"
        "print('openvino' in sys.modules, 'openvino_telemetry' in sys.modules)"
    )
    run = run_blocked(BLOCKED, program, exported["model"])
    assert (run.stdout.split(), run.stderr) == (["True", "False"], "")


def with_properties(exported, path, **changes):
    model = onnx.load(exported["model"])
    properties = {entry.key: entry.value for entry in model.metadata_props} | changes
    set_properties(model, {name: text for name, text in properties.items() if text is not None})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": None}, "changed.onnx .*schema .*got None"),
        ({"schema": '"other/1"'}, "changed.onnx .*'other/1'"),
        ({"schema": "ultralytics"}, "changed.onnx .*'ultralytics'"),
        ({"schema": '"ood_seg.onnx/2"'}, "'ood_seg.onnx/2' .*'ood_seg.onnx/1'"),
        ({"classes": None}, "no 'classes'"),
        ({"classes": "[road"}, "'classes' is not JSON"),
        ({"classes": "[]"}, "'classes' must be"),
        ({"palette": "[[1, 2, 3]]"}, "'palette' must be"),
        ({"thresholds": '{"fpr 5%": "low"}'}, "thresholds: 'fpr 5%' must be"),
        ({"layout": '"hwc"'}, "'layout' must be .*'hwc'"),
        ({"outputs": '["labels", "anomaly"]'}, "'outputs' must be"),
    ],
)
def test_other_metadata_are_refused(exported, tmp_path, changes, message):
    path = with_properties(exported, tmp_path / "changed.onnx", **changes)
    with pytest.raises(ValueError, match=message):
        OnnxAnomalySegmentor(path)


def test_files_that_are_not_models_are_refused(exported, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported["model"].read_bytes()[:-5000])
    text = tmp_path / "text.onnx"
    text.write_text("no model at all")
    empty = tmp_path / "empty.onnx"
    empty.write_bytes(b"")
    for path in (cut, text, empty):
        with pytest.raises(ValueError, match=f"{path.name} (is not an ONNX model|was not made by)"):
            OnnxAnomalySegmentor(path)
    with pytest.raises(FileNotFoundError, match="ood-seg export-onnx"):
        OnnxAnomalySegmentor(tmp_path / "absent.onnx")


def test_weights_that_are_not_finite_give_an_error(exported, tmp_path):
    model = onnx.load(exported["model"])
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    broken = np.full(weight.dims, np.nan, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(broken, weight.name))
    path = tmp_path / "broken.onnx"
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        OnnxAnomalySegmentor(path)(tiny_export.made_up_image(40, 60))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), "three colour channels"),
        (np.zeros((8, 8, 3), np.uint16), "uint8"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (np.zeros((8, 8, 5), np.uint8), r"\(H, W, 3\)"),
    ],
)
def test_bad_images_are_refused(segmentor, image, message):
    with pytest.raises(ValueError, match=message):
        segmentor.predict([image])


def test_bad_arguments_are_refused(exported):
    cases = [
        ({"runtime": "tflite"}, "expected onnxruntime or openvino, got 'tflite'"),
        ({"device": "tpu"}, "expected cpu, cuda"),
        ({"threads": 0}, "at least 1"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            OnnxAnomalySegmentor(exported["model"], **arguments)


def test_a_missing_gpu_is_an_error(exported):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ValueError, match="device 'cuda:0'"):
        OnnxAnomalySegmentor(exported["model"], device="cuda:0")


def test_a_gpu_whose_libraries_are_missing_is_not_replaced_by_the_cpu(exported, monkeypatch):
    """ONNX Runtime for GPUs then only warns; a session on the CPU stands for it."""
    import onnxruntime

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    session = onnxruntime.InferenceSession(
        str(exported["model"]), providers=["CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: session)
    with pytest.raises(ValueError, match=r"device 'cuda' .*CUDAExecutionProvider"):
        OnnxAnomalySegmentor(exported["model"], device="cuda")
    assert OnnxAnomalySegmentor(exported["model"]).card.score  # without a wish the CPU will do


def test_memory_of_large_batches_is_given_back(exported, monkeypatch):
    """ONNX Runtime keeps what it took for the largest batch unless it is told not to."""
    segmentor, told = OnnxAnomalySegmentor(exported["model"], device="cpu"), []

    def run(_, inputs, options=None):
        (image,) = inputs.values()
        key = "memory.enable_memory_arena_shrinkage"
        told.append(options and options.get_run_config_entry(key))
        return [np.zeros(image.shape[:3], np.float32) for _ in segmentor._run.signature.outputs]

    monkeypatch.setattr(segmentor._run._session, "run", run)
    for size in ((2048, 2048), (2049, 2048), (64, 64)):
        segmentor._run(np.zeros((1, *size, 3), np.uint8))
    assert told == [None, "cpu:0", None]


def test_logistic_probability_by_hand():
    values = {"method": "platt", "parameters": {"slope": 2.0, "offset": 1.0}}
    properties = {name: json.dumps(value) for name, value in card_values(values).items()}
    card = ModelCard.from_properties(properties, "made up")
    found = card.probability(np.float32([-0.5, 0.0, -1e5]))
    np.testing.assert_allclose(found, [0.5, 0.7310586, 0.0], atol=1e-6)
    assert card_without_calibration().probability(np.zeros(3)) is None


def card_without_calibration():
    properties = {name: json.dumps(value) for name, value in card_values(None).items()}
    return ModelCard.from_properties(properties, "made up")


def card_values(calibration):
    return {
        "schema": "ood_seg.onnx/1",
        "classes": ["road"],
        "palette": [[1, 2, 3]],
        "score": "Energy",
        "thresholds": {},
        "layout": "nhwc",
        "colour": "bgr",
        "input_type": "uint8",
        "size": {"kind": "own", "height": 0, "width": 0},
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "network_colour": "rgb",
        "divisor": 1,
        "outputs": ["labels", "anomaly", "score"],
        "channels": 1,
        "precision": "fp32",
        "version": "0",
        "calibration": calibration,
    }


def test_a_refined_map_does_not_use_the_calibration_of_the_file(exported):
    with pytest.warns(UserWarning, match=r"calibration is for the score .*\+segments'.*number"):
        refined = OnnxAnomalySegmentor(exported["model"], refinement="segments", threads=1)
    plain = OnnxAnomalySegmentor(exported["model"], threads=1)
    image = tiny_export.made_up_image(40, 60)
    result = refined(image)
    assert (result.probability, result.mask) == (None, None)
    assert refined.calibration_facts() is None
    assert refined.map_origin().refinement[0]["type"] == "segments"
    evidence = Evidence(image)
    expected = Refinement.of("segments")(plain(image).anomaly, evidence)
    np.testing.assert_array_equal(result.anomaly, expected)
    with pytest.raises(ValueError, match="fpr 5%"):
        OnnxAnomalySegmentor(exported["model"], refinement="segments", operating_point="fpr 5%")
