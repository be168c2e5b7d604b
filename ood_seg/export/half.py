"""Conversion of a part of an ONNX model to half precision.

The converter of ONNX Runtime casts every edge of the graph to half and back, also between excluded
nodes; there the sums in the resize of the image overflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

# Sizes and factors of a resize, which must stay in float32.
_KEPT_INPUTS = {"Resize": (1, 2, 3)}
_LARGEST = float(np.finfo(np.float16).max)


def to_half(model: ModelProto, is_inside: Callable[[NodeProto], bool]) -> None:
    """Convert selected nodes to float16, with casts where data enter or leave them.

    Args:
        model: modified in place.
        is_inside: whether to convert a node.
    """
    from onnx import TensorProto, helper

    converter = _Converter(model, is_inside)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        inside = is_inside(node)
        for index, name in enumerate(node.input):
            if inside and index in _KEPT_INPUTS.get(node.op_type, ()):
                continue
            node.input[index] = converter.as_wanted(name, inside, nodes)
        if inside and node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.CopyFrom(helper.make_attribute("to", TensorProto.FLOAT16))
        nodes.append(node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    weights = [w for w in model.graph.initializer if w.name in used] + converter.weights()
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)


class _Converter:
    """Names of values in half or full precision, with the casts and weights they require."""

    def __init__(self, model: ModelProto, is_inside: Callable[[NodeProto], bool]) -> None:
        import onnx

        graph = onnx.shape_inference.infer_shapes(model).graph
        values = (*graph.value_info, *graph.input, *graph.output)
        self._floats = {
            value.name
            for value in values
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        }
        self._inside = {name for node in graph.node if is_inside(node) for name in node.output}
        self._weights = {
            weight.name: weight
            for weight in model.graph.initializer
            if weight.data_type == onnx.TensorProto.FLOAT
        }
        self._half_weights: set[str] = set()
        self._cast: set[str] = set()

    def as_wanted(self, name: str, half: bool, nodes: list[NodeProto]) -> str:
        """The name of a value in half or full precision; appends a cast to `nodes` if required."""
        from onnx import TensorProto, helper

        if name in self._weights:
            if half:
                self._half_weights.add(name)
            return f"{name}_half" if half else name
        if name not in self._floats or (name in self._inside) == half:
            return name
        cast = f"{name}_{'half' if half else 'full'}"
        if cast not in self._cast:
            self._cast.add(cast)
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [name], [cast], f"cast/{cast}", to=kind))
        return cast

    def weights(self) -> list[TensorProto]:
        """The weights of the converted nodes, in half precision."""
        from onnx import numpy_helper

        halves = []
        for name in sorted(self._half_weights):
            values = numpy_helper.to_array(self._weights[name])
            halves.append(values.clip(-_LARGEST, _LARGEST).astype(np.float16))
        names = (f"{name}_half" for name in sorted(self._half_weights))
        return [numpy_helper.from_array(*pair) for pair in zip(halves, names, strict=True)]
