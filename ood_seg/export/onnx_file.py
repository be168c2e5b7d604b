"""Conversion of the inference graph to an ONNX model, and files of it."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ood_seg import __version__
from ood_seg.export.graph import InferenceGraph
from ood_seg.io.files import atomic_path

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

DEFAULT_OPSET = 18
_EXAMPLE = (2, 97, 131)
_LARGEST_FILE = 2**31 - 2**20  # limit of protobuf, minus a margin for the rest of the graph
_INPUT = "image"
NETWORK = "network/"  # prefix of the nodes of the network, except the final classifiers
_SCOPES = "pkg.torch.onnx.name_scopes"
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BRANCH = "model.anomaly_branch."
# Inside an anomaly branch or beside one, modules have no `model.` before their names.
_NETWORK_SCOPES = tuple(
    f"'{prefix}{part}" for part in ("backbone", "neck", "decode_head") for prefix in ("model.", "")
)


def to_onnx(graph: InferenceGraph, *, opset: int = DEFAULT_OPSET) -> ModelProto:
    """Export with dynamic batch size and image size.

    Args:
        graph: in evaluation mode, on the CPU.
        opset: version of the ONNX operators.

    Returns:
        A model with the input `image` and the outputs of the graph.

    Raises:
        ValueError: a part of the network cannot be exported (the message gives the reason), or
            the opset is not supported.
    """
    count, height, width = _EXAMPLE
    free = torch.export.Dim.DYNAMIC
    if graph.layout == "nhwc":
        shape, axes = (count, height, width, 3), (0, 1, 2)
    else:
        shape, axes = (count, 3, height, width), (0, 2, 3)
    example = torch.zeros(shape, dtype=getattr(torch, graph.input_type))
    try:
        with _without_notes(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                dynamic_shapes=(dict.fromkeys(axes, free),),
                input_names=[_INPUT],
                output_names=list(graph.outputs),
                opset_version=opset,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, torch.onnx.errors.OnnxExporterError) as error:
        raise ValueError(f"this network cannot be exported to ONNX: {innermost(error)}") from error
    assert program is not None  # None only without dynamo
    model = program.model_proto
    _check_opset(model, opset)
    _tidy(model.graph, dict(zip(axes, "NHW", strict=True)))
    del model.functions[:]
    model.producer_name, model.producer_version = "ood_seg", __version__
    return model


def _check_opset(model: ModelProto, wanted: int) -> None:
    """Raise if the conversion to the opset failed, for which the exporter only logs a warning."""
    found = next(entry.version for entry in model.opset_import if entry.domain == "")
    if found != wanted:
        raise ValueError(
            f"opset {wanted} is not supported for this network, only {found}; omit --opset"
        )


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Context manager: no messages of the exporter on optional packages and internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, (logging.ERROR, logging.CRITICAL), strict=True):
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def innermost(error: BaseException) -> str:
    """First line of the message of the original cause of an error; the second after a colon."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else ""
    return first[:300] or type(error).__name__


def _tidy(graph: GraphProto, input_axes: Mapping[int, str]) -> None:
    """Name the dynamic axes; remove the exporter's notes on each node, and unused weights."""
    graph.name = "ood_seg"
    _name_nodes(graph)
    del graph.value_info[:]
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for axis, name in input_axes.items():
        graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in graph.output:
        dims = output.type.tensor_type.shape.dim
        for dim, name in zip((dims[0], *dims[-2:]), "NHW", strict=True):
            dim.dim_param = name
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    if len(kept) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _name_nodes(graph: GraphProto) -> None:
    """Prefix nodes by `NETWORK`, or by `frame/` from the final classifier on.

    With an anomaly branch there are two final classifiers: the last layers of either set of
    weights.
    """
    inside = [
        any(
            scope in entry.value
            for entry in node.metadata_props
            if entry.key == _SCOPES
            for scope in _NETWORK_SCOPES
        )
        for node in graph.node
    ]
    layers = [i for i, node in enumerate(graph.node) if inside[i] and node.op_type in _LAYERS]
    last = layers[-1] if layers else len(inside)
    weights = {index: graph.node[index].input[1] for index in layers}
    of_classifiers = {weight.startswith(_BRANCH): weight for weight in weights.values()}.values()
    for index, node in enumerate(graph.node):
        is_inside = inside[index] and index < last
        is_classifier = weights.get(index) in of_classifiers
        part = NETWORK if is_inside and not is_classifier else "frame/"
        node.name = f"{part}{index}_{node.op_type}"


def set_properties(model: ModelProto, properties: Mapping[str, str]) -> None:
    """Replace the `metadata_props` of a model."""
    del model.metadata_props[:]
    for name, value in properties.items():
        model.metadata_props.add(key=name, value=value)


def save(model: ModelProto, path: Path) -> None:
    """Write a model atomically; weights beyond protobuf's limit go to a second file.

    The second file has the name of the first with `.data` appended.
    """
    import onnx

    with atomic_path(path) as unfinished:
        if model.ByteSize() < _LARGEST_FILE:
            onnx.save(model, str(unfinished))
        else:
            weights = _weights_beside(path)
            weights.unlink(missing_ok=True)  # onnx would append to it
            try:
                onnx.save(model, str(unfinished), save_as_external_data=True, location=weights.name)
            except OSError:
                weights.unlink(missing_ok=True)
                raise


def move(source: Path, target: Path) -> None:
    """Rename a model file; a model with a second file is rewritten, as it contains its name."""
    import onnx

    if not _weights_beside(source).exists():
        os.replace(source, target)
        return
    save(onnx.load(str(source)), target)
    remove(source)


def remove(path: Path) -> None:
    """Delete a model file, and its second file, as far as they exist."""
    path.unlink(missing_ok=True)
    _weights_beside(path).unlink(missing_ok=True)


def _weights_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")
