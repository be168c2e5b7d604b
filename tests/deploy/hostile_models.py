"""Damaged and hostile variants of an exported model, each a change of its protobuf or its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[onnx.ModelProto], object]


def without_output(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = [output for output in model.graph.output if output.name != name]
        del model.graph.output[:]
        model.graph.output.extend(kept)

    return change


def with_output(name: str, operator: str, kind: int, shape: list, *inputs, **attributes) -> Change:
    """Another node computes the output from the former one, or from constants `inputs`."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = [f"former_{one}" if one == name else one for one in node.output]
            node.input[:] = [f"former_{one}" if one == name else one for one in node.input]
        names = []
        for index, value in enumerate(inputs):
            names.append(f"{name}_{index}")
            model.graph.initializer.append(numpy_helper.from_array(value, names[-1]))
        names = names if operator == "ConstantOfShape" else [f"former_{name}", *names]
        model.graph.node.append(helper.make_node(operator, names, [name], **attributes))
        without_output(name)(model)
        model.graph.output.append(helper.make_tensor_value_info(name, kind, shape))

    return change


def with_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def with_input_type(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Cast", ["other"], ["image"], to=TensorProto.UINT8))
    del model.graph.input[:]
    model.graph.input.append(
        helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", "H", "W", 3])
    )


def with_weight(**changes) -> Change:
    def change(model: onnx.ModelProto) -> None:
        weight = max(model.graph.initializer, key=lambda one: len(one.raw_data))
        if "dims" in changes:
            weight.dims[:] = changes["dims"]
        if "data_type" in changes:
            weight.data_type = changes["data_type"]
        if "location" in changes:
            weight.ClearField("raw_data")
            weight.data_location = TensorProto.EXTERNAL
            for key, value in {"location": changes["location"], "length": "4096"}.items():
                weight.external_data.add(key=key, value=value)

    return change


def with_property(name: str, text: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        next(one for one in model.metadata_props if one.key == name).value = text

    return change


def with_node(operator: str, domain: str = "") -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[5].op_type, model.graph.node[5].domain = operator, domain

    return change


HUGE = np.int64([1, 2**20, 2**20])
MAP = ["N", "H", "W"]
# Variants that must be refused when the model is loaded.
REFUSED: dict[str, Change] = {
    **{f"no_{name}": without_output(name) for name in ("labels", "anomaly", "score", "logits")},
    "labels_float": with_output("labels", "Cast", TensorProto.FLOAT, MAP, to=TensorProto.FLOAT),
    "labels_int64": with_output("labels", "Cast", TensorProto.INT64, MAP, to=TensorProto.INT64),
    "score_double": with_output("score", "Cast", TensorProto.DOUBLE, MAP, to=TensorProto.DOUBLE),
    "anomaly_of_four_axes": with_output(
        "anomaly", "Unsqueeze", TensorProto.FLOAT, [1, *MAP], np.int64([0])
    ),
    "two_inputs": with_input,
    "input_float": with_input_type,
    "no_graph": lambda model: model.ClearField("graph"),
    "no_nodes": lambda model: model.graph.ClearField("node"),
    "unknown_operator": with_node("NoSuchOperator"),
    "unknown_domain": with_node("Conv", "no.such.domain"),
    "missing_tensor": lambda model: model.graph.node[3].input.__setitem__(0, "nowhere"),
    "cycle": lambda model: model.graph.node[9].input.__setitem__(0, model.graph.node[9].output[0]),
    "newer_format": lambda model: setattr(model, "ir_version", 10**6),
    "newer_operators": lambda model: setattr(model.opset_import[0], "version", 10**6),
    "weight_larger_than_its_data": with_weight(dims=[2**20, 2**20]),
    "weight_of_negative_size": with_weight(dims=[-1, 3]),
    "weight_of_overflowing_size": with_weight(dims=[2**32, 2**32, 2**32]),
    "weight_of_unknown_type": with_weight(data_type=999),
    "weight_of_text": with_weight(data_type=TensorProto.STRING),
    "weight_elsewhere": with_weight(location="no_such_file"),
    "weight_above": with_weight(location="../../../../../etc/passwd"),
    "weight_absolute": with_weight(location="/etc/passwd"),
    "property_nested": with_property("thresholds", "[" * 100_000),
    "property_long": with_property("classes", json.dumps(["x" * 10_000_000])),
    "classes_too_many": with_property("classes", json.dumps(["x"] * 300)),
    **{
        f"property_{name}_{index}": with_property(name, text)
        for name in ("classes", "palette", "thresholds", "size", "outputs", "calibration")
        for index, text in enumerate(("", "NaN", "[[[]]]", "1e999", '{"a": {}}'))
    },
}
# Variants that may load; the image then fails.
FAILING: dict[str, Change] = {
    "anomaly_of_one_pixel": with_output(
        "anomaly", "ReduceMax", TensorProto.FLOAT, MAP, np.int64([1, 2]), keepdims=1
    ),
    "labels_beyond_the_classes": with_output("labels", "BitwiseNot", TensorProto.UINT8, MAP),
    "giant_constant": with_output(
        "score",
        "ConstantOfShape",
        TensorProto.FLOAT,
        MAP,
        HUGE,
        value=numpy_helper.from_array(np.float32([1])),
    ),
    "giant_expansion": with_output(
        "score", "Expand", TensorProto.FLOAT, MAP, np.int64([2**20, 2**20, 1])
    ),
}


def changed(model: Path, change: Change, target: Path) -> Path:
    proto = onnx.load(str(model))
    change(proto)
    target.write_bytes(proto.SerializeToString())
    return target


def damaged_bytes(content: bytes, *, cuts: int, flips: int, seed: int = 0) -> Iterator[bytes]:
    """Truncated contents, and contents in which some bytes are replaced."""
    rng = np.random.default_rng(seed)
    for length in np.linspace(0, len(content) - 1, cuts).astype(int):
        yield content[:length]
    for _ in range(flips):
        octets = bytearray(content)
        # Half of them among the metadata at the end.
        start = 0 if rng.random() < 0.5 else len(octets) - 4000
        for place in rng.integers(start, len(octets), rng.integers(1, 6)):
            octets[place] = rng.integers(256)
        yield bytes(octets)
