"""Reduced precision: layers that stay in float32, calibration images, failed conversions."""

import cv2
import exported_tiny as tiny_export
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ood_seg.export import exporting, precision


def chain(*layers):
    """A graph of named nodes, each with the shape of its weight, on the output before it."""
    nodes, weights = [], []
    for name, shape in layers:
        inputs = [nodes[-1].output[0] if nodes else "image"]
        if shape:
            weights.append(helper.make_tensor_value_info(f"w_{name}", TensorProto.FLOAT, shape))
            inputs.append(f"w_{name}")
        nodes.append(helper.make_node(name.split("_")[-1], inputs, [f"out_{name}"], name=name))
    initializers = [
        helper.make_tensor(w.name, TensorProto.FLOAT, shape, np.zeros(shape, np.float32).ravel())
        for w, shape in zip(weights, [s for _, s in layers if s], strict=True)
    ]
    return helper.make_graph(nodes, "chain", [], [], initializers)


def test_layers_after_the_first_three_are_quantised_with_their_relus():
    graph = chain(
        ("frame/0_Conv", (4, 3, 3, 3)),
        ("network/1_Conv", (4, 4, 3, 3)),
        ("network/2_Relu", None),
        ("network/3_Conv", (4, 1, 1, 1)),  # depthwise: not quantised, not counted
        ("network/4_Conv", (4, 4, 3, 3)),
        ("network/5_ConvTranspose", (4, 4, 3, 3)),
        ("network/6_Conv", (4, 4, 3, 3)),
        ("network/7_Relu", None),
        ("network/8_Conv", (4, 1, 3, 3)),
        ("network/9_Relu", None),
        ("network/10_MatMul", (4, 4)),
        ("network/11_MatMul", None),
        ("frame/12_Conv", (4, 4, 1, 1)),
    )
    graph.node[11].input.append("image")  # a product of two activations
    expected = {"network/6_Conv", "network/7_Relu", "network/10_MatMul"}
    assert precision.quantised_nodes(graph) == expected


def test_batch_norms_and_first_layers_stay_in_float32(exported, tmp_path):
    images = [tiny_export.made_up_image(48, 64, seed)[None] for seed in range(3)]
    precision.to_int8(exported["model"], tmp_path / "int8.onnx", images)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    maker = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    in_8_bits = [maker.get(node.input[1]) == "DequantizeLinear" for node in layers]
    assert in_8_bits == [False] * 3 + [True] * (len(layers) - 4) + [False]
    norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert norms
    assert not any(name in maker for node in norms for name in node.input[1:])


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_failed_conversion_leaves_no_file(exported, tmp_path, monkeypatch, name):
    def broken(*_arguments):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(
        exporting.onnx_file, "to_onnx", lambda *_, **__: onnx.load(exported["model"])
    )
    monkeypatch.setattr(precision, "convert", broken)
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), tiny_export.made_up_image(20, 30))
    options = exporting.Options(
        precision=name, calibration_images=(image,) if name == "int8" else (), logits=True
    )
    with pytest.raises(ValueError, match=f"{name}: no such operator;"):
        exporting.export_onnx(
            tiny_export.config(),
            exported["weights"],
            tmp_path / "out.onnx",
            options,
            calibration=exported["calibration"],
        )
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_images_of_a_large_folder_are_evenly_spaced(tmp_path):
    names = [tmp_path / "many" / f"{i:03}.png" for i in range(3 * precision.MAX_CALIBRATION_IMAGES)]
    few = [tmp_path / "few" / "b.jpg", tmp_path / "few" / "deep" / "a.PNG"]
    for path in (*names, *few, tmp_path / "few" / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = precision.calibration_images([tmp_path / "many", str(few[0]), tmp_path / "few"])
    assert found == (*names[::3], few[0], *few)
