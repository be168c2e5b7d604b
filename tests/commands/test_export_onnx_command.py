"""`ood-seg export-onnx`: its options are passed to the export, and its report is printed."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from ood_seg.commands import main
from ood_seg.export import exporting
from ood_seg.export.check import Agreement


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Arguments of each call of an export that only writes a file of zeros."""
    seen = []

    def fake(cfg, checkpoint, out, options, *, calibration, allow_other_model, report):
        seen.append((cfg, checkpoint, out, options, calibration, allow_other_model))
        report("exporting")
        Path(out).write_bytes(bytes(2_000_000))
        card = SimpleNamespace(
            input_type="uint8", layout="nhwc", colour="bgr", outputs=("labels",), precision="fp32"
        )
        agreement = Agreement((1, 2, 3), 0.99995, 1e-6, None, True)
        return exporting.Export([Path(out), tmp_path / "m.json"], card, [agreement], [], [])

    monkeypatch.setattr(exporting, "export_onnx", fake)
    return seen


def run(*arguments):
    return main(["export-onnx", "energy_fcn-erfnet_cityscapes", *map(str, arguments)])


def test_defaults_and_report(calls, tmp_path, capsys):
    assert run("-", tmp_path / "m.onnx") == 0
    cfg, checkpoint, out, options, calibration, allow_other_model = calls[0]
    assert (checkpoint, calibration, allow_other_model) == (None, None, False)
    assert (out, options) == (str(tmp_path / "m.onnx"), exporting.Options())
    assert cfg.model.type == "OODEncoderDecoder"
    text = capsys.readouterr().out
    assert "2.0 MB" in text
    assert "1x2x3, labels equal on 99.9950 %, scores differ by at most 1.0e-06" in text


def test_options(calls, tmp_path):
    images = tmp_path / "known"
    images.mkdir()
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(images / name), np.zeros((4, 4, 3), np.uint8))
    (images / "notes.txt").write_text("not an image")
    words = "--layout nchw --colour rgb --input float32 --size 64x96 --logits --int8 --opset 20"
    extra = ["--calibration-images", images, "--allow-other-model"]
    extra += ["--cfg-options", "model.test_cfg.mode=whole"]
    assert run("w.pth", tmp_path / "m.onnx", *words.split(), *extra) == 0
    _, checkpoint, _, options, _, allow_other_model = calls[0]
    assert (checkpoint, allow_other_model) == ("w.pth", True)
    assert (options.layout, options.colour, options.input_type) == ("nchw", "rgb", "float32")
    assert (options.size, options.logits, options.precision) == ("64x96", True, "int8")
    assert [path.name for path in options.calibration_images] == ["a.jpg", "b.png"]
    assert options.opset == 20


def test_bad_arguments_are_one_message(calls, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in [
        (("--int8",), "--calibration-images"),
        (("--int8", "--calibration-images", empty), str(empty)),
        (("--int8", "--calibration-images", tmp_path / "absent"), str(tmp_path / "absent")),
    ]:
        assert run("-", out, *arguments) == 2
        assert message in capsys.readouterr().err
    assert calls == []


def test_a_misspelt_ending_of_the_file_is_named(calls, capsys):
    assert run("model.onx") == 2
    assert "'model.onx'" in capsys.readouterr().err
    assert not calls
