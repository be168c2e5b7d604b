"""One way to any model: by the suffix of the file, or as requested."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ood_seg import apis
from ood_seg.apis import segmentors


@pytest.fixture
def loaded(monkeypatch):
    """Arguments with which either class was called, instead of a model."""
    calls = []

    def stand_in(name):
        return lambda *arguments, **options: calls.append((name, arguments, options))

    monkeypatch.setattr("ood_seg.deploy.onnx_segmentor.OnnxAnomalySegmentor", stand_in("onnx"))
    monkeypatch.setattr("ood_seg.apis.inferencer.AnomalyInferencer", stand_in("config"))
    return calls


def test_the_suffix_chooses_the_class(loaded):
    pytest.importorskip("mmseg")
    decision = {"operating_point": "fpr 5%", "min_area": 7, "region": "road"}
    decision["boundary_suppression"] = 9
    segmentors.load_segmentor("model.onnx", device="cpu", **decision)
    segmentors.load_segmentor("model.bin", exported=True, openvino=True)
    segmentors.load_segmentor("config.py", "a.pth", device="cpu", calibration="c.json", **decision)
    (_, first, options), (_, second, openvino), (_, third, config) = loaded
    assert [name for name, *_ in loaded] == ["onnx", "onnx", "config"]
    assert (first, second, third) == (
        ("model.onnx",),
        ("model.bin",),
        ("config.py", "a.pth", "cpu"),
    )
    assert options == {
        "runtime": "onnxruntime",
        "device": "cpu",
        "refinement": None,
        "calibrated": True,
        **decision,
    }
    assert openvino["runtime"] == "openvino"
    assert config == {
        "calibration": "c.json",
        "smoothing": None,
        "refinement": None,
        "allow_other_model": False,
        **decision,
    }


@pytest.mark.parametrize(
    ("model", "options", "name"),
    [
        ("model.onnx", {"checkpoint": "a.pth"}, "--checkpoint"),
        ("model.onnx", {"calibration": "c.json"}, "--calibration"),
        ("model.onnx", {"smoothing": False}, "--smoothing"),
        ("config.py", {"openvino": True}, "--openvino .*config.py"),
    ],
)
def test_options_that_do_not_apply_are_refused(model, options, name):
    with pytest.raises(ValueError, match=name):
        segmentors.load_segmentor(model, **options)


def test_processes_of_one_machine_take_different_gpus(loaded, monkeypatch):
    pytest.importorskip("mmseg")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for rank in range(3):
        segmentors.load_segmentor("config.py", local_rank=rank)
    segmentors.load_segmentor("config.py", local_rank=1, device="cpu")
    segmentors.load_segmentor("config.py")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    segmentors.load_segmentor("config.py", local_rank=1)
    devices = [arguments[2] for _, arguments, _ in loaded]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cpu", None, None]


def test_names_of_the_package_are_imported_on_use():
    program = "import sys, ood_seg.apis; assert not {'torch', 'mmseg', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert apis.load_segmentor is segmentors.load_segmentor
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = apis.nothing
