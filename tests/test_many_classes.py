"""More than 254 classes: labels of 16 bits wherever they are predicted, and refusals elsewhere."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from ood_seg.labels import IGNORE, OUTLIER, label_type, require_distinct_labels, unlabelled
from ood_seg.metrics.open_set import OpenSetMetrics
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.types import Frame, Palette, Prediction
from ood_seg.visualization import label_overlay

COUNT = 300
COLOURS = tuple((index % 256, index // 256, 7) for index in range(COUNT))
PALETTE = Palette(tuple(f"c{index}" for index in range(COUNT)), COLOURS)
LABELS = np.uint16([[0, 43, 253], [254, 255, 299]])


def test_types_by_number_of_classes():
    assert [label_type(count) for count in (1, 19, 254)] == ["uint8"] * 3
    assert [label_type(count) for count in (255, 256, 65535)] == ["uint16"] * 3
    assert (unlabelled(254), unlabelled(255)) == (255, 65535)
    for count in (0, 65536):
        with pytest.raises(ValueError, match=f"got {count}"):
            label_type(count)


def test_labels_that_would_collide_are_refused():
    require_distinct_labels(254)
    require_distinct_labels(255, outlier_index=300, ignore_index=-100)
    with pytest.raises(ValueError, match=r"255 classes: class 254 .*outlier_index=254"):
        require_distinct_labels(255)
    with pytest.raises(ValueError, match=r"class 255 .*ignore_index=255"):
        require_distinct_labels(300, outlier_index=300)
    with pytest.raises(ValueError, match="class 254"):
        OpenSetMetrics(255, threshold=0.0)


def result_of(labels: np.ndarray):
    frame = Frame(np.full((*labels.shape, 3), 100, np.uint8), "street")
    scores = np.zeros(labels.shape, np.float32)
    return DecisionRule()(frame, Prediction(labels, scores), palette=PALETTE, score_name="Energy")


def test_saved_labels_and_their_colours(tmp_path):
    result = result_of(LABELS)
    (path,) = result.save(tmp_path, "labels")
    saved = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert saved.dtype == np.uint16
    np.testing.assert_array_equal(saved, LABELS)
    drawn = label_overlay(result.image, LABELS, COLOURS, 1.0)
    np.testing.assert_array_equal(drawn, np.uint8(COLOURS)[LABELS])
    # Values without a class leave the image as it is.
    drawn = label_overlay(result.image, np.int64([[-1, 300, 65535], [0, 1, 2]]), COLOURS, 1.0)
    assert (drawn[0] == 100).all()
    np.testing.assert_array_equal(drawn[1], np.uint8(COLOURS[:3]))
    blended = result.overlay(style="classes", alpha=0.5)
    np.testing.assert_array_equal(blended[1, 2], [54, 50, 72])  # (7, 1, 43) in BGR and 100
    pytest.importorskip("matplotlib")
    assert result.figure() is not None


def test_colours_of_254_classes_are_those_of_the_fast_way():
    few = COLOURS[:254]
    image = np.zeros((2, 3, 3), np.uint8)
    labels = np.uint8([[0, 43, 253], [254, 255, 1]])
    for given in (labels, labels.astype(np.int64)):
        drawn = label_overlay(image, given, few, 1.0)
        np.testing.assert_array_equal(drawn[0], np.uint8(few)[[0, 43, 253]])
        assert not drawn[1, :2].any()


def test_ros_messages():
    from ood_seg.ros.fields import Header
    from ood_seg.ros.images import array_of, image_of
    from ood_seg.ros.messages import label_info, result_messages

    header = Header(1, 2, "camera")
    message = result_messages(result_of(LABELS), header, ["labels"])["labels"]
    fields = type("Image", (), message.fields)
    assert (fields.encoding, fields.step) == ("mono16", 6)
    np.testing.assert_array_equal(array_of(fields), LABELS)
    with pytest.raises(ValueError, match="'mono16'; networks trained on colour"):
        image_of(fields)

    class Model:
        palette, threshold = PALETTE, None

    info = label_info(Model, header).fields["class_map"]
    pairs = [(one.fields["class_id"], one.fields["class_name"]) for one in info]
    assert pairs[:-1] == list(enumerate(PALETTE.classes))
    assert pairs[-1] == (65535, "UNLABELED")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of 300 classes whose pixels are of class 43, 254, 255 or 299 by their colour."""
    pytest.importorskip("mmseg")
    import tiny
    from mmengine.registry import init_default_scope

    import ood_seg.register  # noqa: F401

    init_default_scope("mmseg")
    network = tiny.build(num_classes=COUNT)
    with torch.no_grad():
        bias = network.decode_head.conv_seg.bias
        bias.fill_(-50.0)
        bias[[43, 254, 255, 299]] = 0.0
    path = tmp_path_factory.mktemp("weights") / "many.pth"
    torch.save({"state_dict": network.state_dict()}, path)
    return network, path


def config(**changes):
    import tiny
    from mmengine.config import Config

    pipeline = [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]
    return Config({"model": tiny.model_config(COUNT, **changes), "test_pipeline": pipeline})


def image_of_size(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_inferencer(model):
    from ood_seg.apis import AnomalyInferencer

    network, path = model
    inferencer = AnomalyInferencer(config(), path, "cpu")
    image = image_of_size(48, 64)
    (found,) = inferencer.predict([image])
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        logits = network.decode_head(network.backbone((rgb - 127.5) / 64.0))
        logits = torch.nn.functional.interpolate(logits, (48, 64), mode="bilinear")
    expected = logits.argmax(1)[0].numpy()
    assert set(np.unique(expected)) & {254, 255, 299}
    assert found.labels.dtype == np.uint16
    assert (found.labels == expected).mean() > 0.999
    assert inferencer(image).labels.dtype == np.uint16


@pytest.mark.slow
def test_the_exported_model(model, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from ood_seg.apis import AnomalyInferencer
    from ood_seg.deploy import OnnxAnomalySegmentor
    from ood_seg.export import export_onnx

    path, image = model[1], image_of_size(48, 64)
    (found,) = AnomalyInferencer(config(), path, "cpu").predict([image])
    files = export_onnx(config(), path, tmp_path / "many.onnx").files
    for runtime in ("onnxruntime", "openvino"):
        pytest.importorskip(runtime)
        segmentor = OnnxAnomalySegmentor(files[0], runtime=runtime)
        (other,) = segmentor.predict([image])
        assert other.labels.dtype == np.uint16
        assert (other.labels == found.labels).mean() > 0.999
    texts = {file.name.partition(".")[2]: file.read_text() for file in files[1:]}
    assert json.loads(texts["json"])["outputs_of_graph"]["labels"]["type"] == "uint16"
    assert 'name: "labels"\n    data_type: TYPE_UINT16' in texts["config.pbtxt"]
    assert 'class_id: 65535, class_name: "UNLABELED"' in texts["label_info.yaml"]


@pytest.mark.parametrize("score", ["Energy", "MaxLogit"])
def test_the_graph_that_is_exported(model, score):
    pytest.importorskip("onnx")
    from ood_seg.apis import AnomalyInferencer
    from ood_seg.export.exporting import Options, inference_graph
    from ood_seg.export.graph import labels_and_energy

    cfg = config(energy_head={"type": "EnergyHead", "score": {"type": score}})
    inferencer = AnomalyInferencer(cfg, model[1], "cpu")
    image = image_of_size(48, 64)
    graph = inference_graph(inferencer, cfg, Options())
    with torch.no_grad():
        labels = graph(torch.from_numpy(image)[None])[0]
    assert labels.dtype == torch.uint16
    assert (labels[0].numpy() == inferencer.predict([image])[0].labels).mean() > 0.999
    logits = torch.randn(1, COUNT, 5, 7)
    labels, energies = labels_and_energy(logits, 1.0)  # class by class
    np.testing.assert_array_equal(labels.numpy(), logits.argmax(1).numpy())
    torch.testing.assert_close(energies, -torch.logsumexp(logits, 1))


def test_training_fitting_and_metrics_refuse_them(model):
    import tiny

    from ood_seg.engine.fitting import _label_counts
    from ood_seg.engine.outlier_prior import visit_pasted_scenes
    from ood_seg.evaluation.anomaly_metric import AnomalyMetric
    from ood_seg.evaluation.known_iou_metric import KnownIoUMetric

    network = model[0]
    batch = network.data_preprocessor(tiny.batch(), training=True)
    known, anomaly = KnownIoUMetric(), AnomalyMetric(label_space="training")
    known.dataset_meta = anomaly.dataset_meta = {"classes": PALETTE.classes}
    labels = torch.tensor([[0, OUTLIER, IGNORE]])
    for call in (
        lambda: network.loss(batch["inputs"], batch["data_samples"]),
        lambda: _label_counts(labels, COUNT),
        lambda: visit_pasted_scenes(network, [], lambda *_: None, num_images=1),
        lambda: known.process({}, []),
        lambda: anomaly.evaluation_labels(labels),
    ):
        with pytest.raises(ValueError, match=r"300 classes: class 254 .*up to 254 classes"):
            call()
