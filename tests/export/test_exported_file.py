"""The exported file: tensors, metadata, sidecars, and the files left by a failed check."""

import configparser
import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import exported_tiny as tiny_export
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from ood_seg import runtimes
from ood_seg.deploy import ModelCard
from ood_seg.export import check, exporting, precision, sidecars
from ood_seg.io.files import atomic_path
from ood_seg.io.provenance import file_sha256


def test_export_agrees_with_torch(exported):
    export = exported["export"]
    for found in (export.graph, export.pipeline):
        assert [agreement.shape for agreement in found] == list(check.SIZES)
        assert all(agreement.holds for agreement in found)
    assert export.reduced == []


def test_one_file_with_dynamic_axes_and_no_local_paths(exported):
    model = onnx.load(exported["model"], load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(weight.data_location for weight in model.graph.initializer)
    shapes = {
        tensor.name: [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        for tensor in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "image": ["N", "H", "W", 3],
        "labels": ["N", "H", "W"],
        "anomaly": ["N", "H", "W"],
        "score": ["N", "H", "W"],
        "logits": ["N", 5, "H", "W"],
    }
    content = exported["model"].read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content.replace(b"tiny.pth", b"")


def test_outputs_of_other_sizes_and_batches(exported):
    session = onnxruntime.InferenceSession(exported["model"])
    for count, height, width in ((1, 48, 64), (3, 31, 97), (2, 200, 50)):
        images = np.stack([tiny_export.made_up_image(height, width, i) for i in range(count)])
        labels, anomaly, score, logits = session.run(None, {"image": images})
        assert labels.shape == anomaly.shape == score.shape == (count, height, width)
        assert labels.dtype == np.uint8
        assert anomaly.dtype == score.dtype == np.float32
        np.testing.assert_array_equal(labels, logits.argmax(axis=1))
        np.testing.assert_allclose(score, -np.log(np.exp(logits).sum(axis=1)), atol=1e-4)
        assert anomaly.min() >= 0
        assert anomaly.max() <= 1
        order = np.argsort(score.ravel())
        assert (np.diff(anomaly.ravel()[order]) >= 0).all()


def test_metadata_contain_the_provenance(exported):
    card, calibration = card_of(exported["model"]), json.loads(exported["calibration"].read_text())
    points = {point["name"]: point["threshold"] for point in calibration["operating_points"]}
    assert card.to_properties() == exported["export"].card.to_properties()
    assert card.thresholds == points
    assert list(points) == ["fpr 5%", "tpr 95%"]
    assert (card.score, card.temperature, card.smoothing) == ("Energy", 1.0, None)
    assert len(card.classes) == len(card.palette) == card.channels == 5
    assert card.size == {"kind": "fixed", "height": 48, "width": 64}
    assert (card.mean, card.std, card.network_colour) == ((127.5,) * 3, (64.0,) * 3, "rgb")
    assert (card.layout, card.colour, card.input_type) == ("nhwc", "bgr", "uint8")
    assert card.checkpoint_sha256 == file_sha256(exported["weights"])
    assert re.fullmatch("[0-9a-f]{64}", card.config_sha256)
    assert card.calibration["method"] == "isotonic"


def test_probabilities_of_the_card_equal_those_of_the_graph(exported):
    card = card_of(exported["model"])
    session = onnxruntime.InferenceSession(exported["model"])
    image = tiny_export.made_up_image(40, 50)[None]
    anomaly, score = session.run(["anomaly", "score"], {"image": image})
    np.testing.assert_allclose(card.probability(score), anomaly, atol=1e-3)


def card_of(path):
    properties = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return ModelCard.from_properties(properties, "the model")


def test_failed_check_leaves_nothing_at_out(exported, tmp_path, monkeypatch):
    def wrong(graph, opset):
        return onnx.load(exported["model"])  # of other weights

    monkeypatch.setattr(exporting.onnx_file, "to_onnx", wrong)
    weights = tmp_path / "other.pth"
    torch.save({"state_dict": tiny_export.tiny.build(seed=3).state_dict()}, weights)
    out = tmp_path / "new.onnx"
    with pytest.raises(ValueError, match=r"graph in torch: 1x256x384.*new\.failed\.onnx"):
        exporting.export_onnx(
            tiny_export.config(), weights, out, calibration=exported["calibration"]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.failed.onnx", "other.pth"]


@pytest.mark.parametrize(("kind", "remedy"), [("own", "--size HEIGHTxWIDTH"), ("fixed", "kept")])
def test_network_for_a_single_size_names_the_remedy(monkeypatch, kind, remedy):
    """As with a pooling pyramid, whose windows are constants of the size of the export."""

    def run(image):
        raise RuntimeError("Non-zero status code\nGatherND: invalid index")

    monkeypatch.setattr(runtimes, "open_runtime", lambda path, runtime, device: run)
    rule = SimpleNamespace(size=SimpleNamespace(kind=kind))
    graph = SimpleNamespace(preprocessing=rule, colour="bgr", layout="nhwc", input_type="uint8")
    predict = check.file_predictor(Path("a.failed.onnx"), graph)
    with pytest.raises(ValueError, match=rf"20x30: Non-zero status code\..*{remedy}"):
        predict(check.synthetic_images((2, 20, 30)))


def test_sidecars(exported):
    files = {path.name: path.read_text() for path in exported["export"].files[1:]}
    card = exported["export"].card
    described = json.loads(files["tiny.json"])
    assert described["schema"] == "ood_seg.onnx/1"
    assert described["model"] == "tiny.onnx"
    assert described["outputs_of_graph"]["logits"] == {
        "type": "float32",
        "shape": ["N", 5, "?", "?"],
    }
    assert tuple(described["classes"]) == card.classes
    assert files["tiny.labels.txt"].splitlines() == list(card.classes)
    info = yaml.safe_load(files["tiny.label_info.yaml"])
    assert [entry["class_id"] for entry in info["class_map"]] == [0, 1, 2, 3, 4, 255]
    assert info["threshold"] == pytest.approx(float(card.probability(card.thresholds["fpr 5%"])))
    assert 0 < info["threshold"] < 1


def test_triton_configuration(exported):
    text = exported["export"].files[3].read_text()
    fields = text_proto(text)
    assert fields["name"] == ["tiny"]
    assert fields["max_batch_size"] == [8]
    assert fields["backend"] == ["onnxruntime"]
    assert "dynamic_batching" in fields
    assert fields["input"][0] == {
        "name": ["image"],
        "data_type": ["TYPE_UINT8"],
        "dims": [[-1, -1, 3]],
    }
    session = onnxruntime.InferenceSession(exported["model"])
    outputs = {entry["name"][0]: entry for entry in fields["output"]}
    assert list(outputs) == [tensor.name for tensor in session.get_outputs()]
    assert outputs["logits"]["dims"] == [[5, -1, -1]]
    assert outputs["labels"]["data_type"] == ["TYPE_UINT8"]


def text_proto(text):
    """Fields of a protobuf text: the list of values by name."""
    tokens = re.findall(r'"[^"]*"|[\w.+-]+|[{}\[\]:,]', re.sub("#.*", "", text))
    position = 0

    def value():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "{":
            return message("}")
        if token == "[":
            found = []
            while tokens[position] != "]":
                found.append(value())
                position += tokens[position] == ","
            position += 1
            return found
        if token.startswith('"'):
            return token[1:-1]
        return int(token) if re.fullmatch(r"-?\d+", token) else token

    def message(end):
        nonlocal position
        fields = {}
        while position < len(tokens) and tokens[position] != end:
            name = tokens[position]
            assert re.fullmatch("[a-z_]+", name), name
            position += 1
            if tokens[position] == ":":
                position += 1
            found = value()
            repeated = isinstance(found, list) and found and isinstance(found[0], dict)
            fields.setdefault(name, []).extend(found if repeated else [found])
        position += 1
        return fields

    return message(None)


def test_deepstream_file_states_whether_nvinfer_supports_the_model(exported):
    card = exported["export"].card
    text = sidecars.deepstream(card, "tiny.onnx")
    assert "CANNOT" in text
    assert "--input float32 --layout nchw" in text
    fitting = dataclasses.replace(card, input_type="float32", layout="nchw", colour="rgb")
    text = sidecars.deepstream(fitting, "tiny.onnx")
    assert "CANNOT" not in text
    parser = configparser.ConfigParser()
    parser.read_string(text)
    found = dict(parser["property"])
    # Its segmentation parser would read the first output as class scores.
    assert (found["network-type"], found["output-tensor-meta"]) == ("100", "1")
    assert (found["infer-dims"], found["model-color-format"]) == ("3;48;64", "0")
    assert (found["net-scale-factor"], found["offsets"]) == ("1.0", "0;0;0")


def test_bad_targets_and_images_are_refused_before_the_export(tmp_path, monkeypatch):
    def absent(*_arguments, **_options):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(exporting, "AnomalyInferencer", absent)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "broken.png").write_bytes(b"not an image")
    broken = exporting.Options(precision="int8", calibration_images=(tmp_path / "broken.png",))
    for out, options, message in [
        ("model.pt", None, r"out: .*\.onnx.*model\.pt"),
        ("folder.onnx", None, r"out: .*folder\.onnx"),
        (
            "file/deep/model.onnx",
            None,
            r"model\.onnx cannot be written .*Not a directory.*file",
        ),
        ("model.onnx", broken, r"broken\.png"),
    ]:
        with pytest.raises(ValueError, match=message):
            exporting.export_onnx(tiny_export.config(), None, tmp_path / out, options)
    assert len(list(tmp_path.iterdir())) == 3


def test_unsupported_opsets_are_refused(exported):
    model = onnx.load(exported["model"])
    exporting.onnx_file._check_opset(model, 18)
    with pytest.raises(ValueError, match=r"opset 99\b.*\b18\b.*--opset"):
        exporting.onnx_file._check_opset(model, 99)


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_reduced_precision_stays_close_and_keeps_the_frame_in_float32(
    exported, tmp_path, name, caplog
):
    path = tmp_path / "reduced.onnx"
    shutil.copy(exported["model"], path)
    images = [tiny_export.made_up_image(48, 64, seed)[None] for seed in range(4)]
    precision.convert(path, name, images)
    assert caplog.messages == []  # such as ONNX Runtime's on the weights of a batch norm
    assert card_of(path).to_properties() == card_of(exported["model"]).to_properties()
    full, reduced = (onnxruntime.InferenceSession(p) for p in (exported["model"], path))
    image = {"image": tiny_export.made_up_image(48, 64, 9)[None]}
    labels, _, score, logits = full.run(None, image)
    near_labels, _, near_score, _ = reduced.run(None, image)
    assert near_score.dtype == np.float32
    assert (near_labels == labels).mean() > (0.98 if name == "fp16" else 0.75)
    assert 1e-6 < np.abs(near_score - score).mean() < 0.02 * np.ptp(logits)
    assert path.stat().st_size < exported["model"].stat().st_size or name == "int8"
    model = onnx.load(path)
    kinds = {node.op_type for node in model.graph.node}
    assert ("QuantizeLinear" in kinds) == (name == "int8")
    classifier = [n for n in model.graph.node if n.op_type == "Conv" and n.name.startswith("frame")]
    weights = {w.name: w.data_type for w in model.graph.initializer}
    assert [weights[node.input[1]] for node in classifier] == [onnx.TensorProto.FLOAT]


@pytest.mark.parametrize("step", ["onnx_file.save", "sidecars.atomic_path", "onnx_file.move"])
def test_a_full_disk_leaves_neither_model_nor_sidecars(step, exported, tmp_path, monkeypatch):
    def full(*arguments):
        if step == "sidecars.atomic_path" and arguments[0].suffix != ".yaml":
            return atomic_path(*arguments)  # the last sidecar does not fit
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[-1]))

    model = onnx.load(exported["model"])
    monkeypatch.setattr("ood_seg.export.onnx_file.to_onnx", lambda graph, opset: model)
    monkeypatch.setattr("ood_seg.export.exporting._compare", lambda *_: ([], []))
    monkeypatch.setattr(f"ood_seg.export.{step}", full)
    with pytest.raises(OSError, match="No space left"):
        exporting.export_onnx(tiny_export.config(), exported["weights"], tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written_are_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file/out.onnx", f"{'n' * 300}/out.onnx"):
        with pytest.raises(ValueError, match=r"out\.onnx cannot be written"):
            exporting.export_onnx(tiny_export.config(), None, tmp_path / name)
