"""Model files that are damaged or made to harm: one message each, never a traceback."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import cv2
import exported_tiny as tiny_export
import hostile_models as hostile
import pytest

from ood_seg.deploy import OnnxAnomalySegmentor

MEMORY = 6 * 2**30
INFER = "import sys; from ood_seg.commands import main; sys.exit(main(['infer', *sys.argv[1:]]))"
CHEAP = ["no_labels", "no_score", "labels_int64", "anomaly_of_four_axes", "two_inputs"]
CHEAP += ["input_float", "no_graph", "weight_larger_than_its_data", "classes_too_many"]


@pytest.mark.parametrize("name", CHEAP)
def test_what_is_refused_when_the_model_is_loaded(name, exported, tmp_path):
    path = hostile.changed(exported["model"], hostile.REFUSED[name], tmp_path / "bad.onnx")
    with pytest.raises(ValueError, match=r"bad\.onnx"):
        OnnxAnomalySegmentor(path)


def test_missing_and_other_outputs_are_named(exported, tmp_path):
    for name, message in (
        ("no_score", "score: expected float32 of 3 axes, .*got none"),
        ("labels_int64", "labels: expected uint8 of 3 axes, .*got int64 of 3 axes"),
        ("anomaly_of_four_axes", "anomaly: .* got float32 of 4 axes"),
        ("input_float", "input: expected uint8 of 4 axes, .*got float32"),
        ("two_inputs", "one input, got 2"),
    ):
        path = hostile.changed(exported["model"], hostile.REFUSED[name], tmp_path / "bad.onnx")
        with pytest.raises(ValueError, match=message):
            OnnxAnomalySegmentor(path)


def test_outputs_of_other_content_fail_the_image(exported, tmp_path):
    image = tiny_export.made_up_image(24, 32)
    for name, message in (
        ("anomaly_of_one_pixel", r"anomaly: expected the shape \(1, 24, 32\), got \(1, 1, 1\)"),
        ("labels_beyond_the_classes", r"labels: expected 0\.\.4, got 25\d"),
    ):
        path = hostile.changed(exported["model"], hostile.FAILING[name], tmp_path / "bad.onnx")
        with pytest.raises(ValueError, match=message):
            OnnxAnomalySegmentor(path).predict([image])


def infer(image: Path, model: Path, folder: Path, *options) -> subprocess.CompletedProcess:
    """`ood-seg infer` in a process of its own, which may not use more than `MEMORY`."""
    command = [sys.executable, "-c", INFER, image, "--onnx", model, "--json", folder / "r.jsonl"]
    return subprocess.run(
        [*map(str, command), *options],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )


def fault_of(run: subprocess.CompletedProcess, codes: tuple[int, ...]) -> str:
    """What is wrong about a run; empty if it ended in one message and one of these codes."""
    messages = [line for line in run.stderr.splitlines() if line.startswith("ood-seg infer: ")]
    if run.returncode not in codes:
        return f"exit code {run.returncode}: {run.stderr[-500:]}"
    if "Traceback" in run.stderr or "[E:" in run.stderr or len(messages) != bool(run.returncode):
        return run.stderr[-2000:]
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_mutated_models_end_in_one_message(runtime, exported, tmp_path):
    pytest.importorskip(runtime)
    options = ["--openvino"] if runtime == "openvino" else []
    image, bad = tmp_path / "street.png", tmp_path / "bad.onnx"
    cv2.imwrite(str(image), tiny_export.made_up_image(24, 32))
    cases = {}
    for name, change in {**hostile.REFUSED, **hostile.FAILING}.items():
        content = hostile.changed(exported["model"], change, bad).read_bytes()
        cases[name] = (content, (2,) if name in hostile.REFUSED else (1, 2))
    sound = exported["model"].read_bytes()
    flips = 40 if runtime == "onnxruntime" else 10
    for number, content in enumerate(hostile.damaged_bytes(sound, cuts=15, flips=flips)):
        # A changed weight need not be noticed; a file cut within the last field may be whole.
        cases[f"bytes_{number}"] = (content, (2,) if number < 15 else (0, 1, 2))
    faults = {}
    for number, (name, (content, codes)) in enumerate(cases.items()):
        bad.write_bytes(content)
        folder = tmp_path / str(number)
        fault = fault_of(infer(image, bad, folder, *options), codes)
        if fault:
            faults[name] = fault
    assert not faults, f"{len(faults)} of {len(cases)}: {faults}"
