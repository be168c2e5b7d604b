"""Export of a model with an anomaly branch: one graph, shared part once, untouched labels."""

from collections import Counter

import exported_tiny as tiny_export
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
import torch

from ood_seg.export import exporting, precision

FORK = ["backbone.decoder.*", "decode_head.*"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Exports of a model with a branch, and of the plain models with frozen and branch weights."""
    folder = tmp_path_factory.mktemp("branch")
    frozen = tiny.build()
    model = tiny.build(anomaly_branch={"fork": FORK})
    model.load_state_dict(frozen.state_dict())
    with torch.no_grad():
        for parameter in model.anomaly_branch.parameters():
            parameter.mul_(0.9)
    weights = {"branch": model.state_dict(), "frozen": frozen.state_dict()}
    weights["scored"] = weights["frozen"] | model.anomaly_branch.state_dict()
    for name, values in weights.items():
        torch.save({"state_dict": values}, folder / f"{name}.pth")
        changes = {"anomaly_branch": {"fork": FORK}} if name == "branch" else {}
        exporting.export_onnx(
            tiny_export.config(**changes),
            folder / f"{name}.pth",
            folder / f"{name}.onnx",
            exporting.Options(logits=True),
        )
    return folder


def test_outputs_are_the_labels_and_logits_of_one_and_the_score_of_the_other(files):
    image = tiny_export.made_up_image(40, 70, 0)[None]
    found = {
        name: onnxruntime.InferenceSession(files / f"{name}.onnx").run(None, {"image": image})
        for name in ("branch", "frozen", "scored")
    }
    np.testing.assert_array_equal(found["branch"][0], found["frozen"][0])
    np.testing.assert_array_equal(found["branch"][2], found["frozen"][2])
    np.testing.assert_allclose(found["branch"][1], found["scored"][1], rtol=1e-5, atol=1e-5)
    assert np.abs(found["branch"][1] - found["frozen"][1]).max() > 0.01


def test_what_lies_before_the_fork_is_there_once(files):
    graphs = {name: onnx.load(files / f"{name}.onnx").graph for name in ("branch", "frozen")}
    counts = {name: Counter(n.op_type for n in graph.node) for name, graph in graphs.items()}
    # Of the decoder: 8 convolutions and 2 transposed ones; of the head one convolution.
    assert counts["branch"]["Conv"] - counts["frozen"]["Conv"] == 9
    assert counts["branch"]["ConvTranspose"] == 2 * counts["frozen"]["ConvTranspose"] == 4
    size = {name: (files / f"{name}.onnx").stat().st_size for name in graphs}
    assert size["branch"] < 2 * size["frozen"]


def test_both_classifiers_stay_in_full_precision(files, tmp_path):
    graph = onnx.load(files / "branch.onnx").graph
    layers = [node.name for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert sum(name.startswith("frame/") for name in layers) == 2
    path = tmp_path / "half.onnx"
    path.write_bytes((files / "branch.onnx").read_bytes())
    precision.convert(path, "fp16", [])
    image = tiny_export.made_up_image(40, 70, 0)[None]
    full, half = (
        onnxruntime.InferenceSession(one).run(None, {"image": image})
        for one in (files / "branch.onnx", path)
    )
    assert (full[0] == half[0]).mean() > 0.98
    np.testing.assert_allclose(half[1], full[1], rtol=0.02, atol=0.05)
