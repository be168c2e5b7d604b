"""Half precision and 8-bit quantisation of the network; everything else stays in float32.

Preprocessing, the final classifier and the steps after it (interpolation, score, calibration,
arg-max) are not converted, because scores depend on small differences between logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.export.half import to_half
from ood_seg.export.onnx_file import NETWORK, save, set_properties

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

NAMES = ("fp32", "fp16", "int8")

MAX_CALIBRATION_IMAGES = 32

# The layers that take most of the time.
_QUANTISED = ("Conv", "ConvTranspose", "MatMul")
_FIRST_LAYERS = 3  # stay in float32, because their errors propagate through the whole network


def calibration_images(sources: Sequence[str | Path]) -> tuple[Path, ...]:
    """Images for the activation ranges of int8.

    Args:
        sources: image files, and folders of which at most `MAX_CALIBRATION_IMAGES` evenly spaced
            images are taken, subfolders included.

    Raises:
        FileNotFoundError: a file or folder does not exist.
        ValueError: a folder without images, or a file that is not one.
    """
    from ood_seg.io.images import IMAGE_SUFFIXES

    found: list[Path] = []
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"calibration images: {source} does not exist")
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            raise ValueError(f"calibration images: no images in {source}")
        count = min(len(images), MAX_CALIBRATION_IMAGES)
        found += [images[i * len(images) // count] for i in range(count)]
    return tuple(found)


def convert(path: Path, name: str, images: Sequence[np.ndarray]) -> None:
    """Convert a file in place to `fp16` or `int8`; see `half.to_half` and `to_int8`."""
    import onnx

    if name == "int8":
        to_int8(path, path, images)
    else:
        model = onnx.load(str(path))
        to_half(model, lambda node: node.name.startswith(NETWORK))
        save(model, path)


def to_int8(source: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Quantise the network's layers statically: 8-bit weights per channel, 8-bit activations.

    The first layers, depthwise layers and operations with few or no weights (batch norms that
    cannot be folded, sums, gates) stay in float32.

    Args:
        source: file in float32.
        target: file to write.
        images: batches of inputs of the graph, of known classes. The range of an activation is
            that of a batch, averaged over the batches.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name(f".{target.name}.prepared.onnx")
    unfinished = target.with_name(f".{target.name}.int8.onnx")
    try:
        # Folds batch norms into convolutions. Shapes are dynamic, so they are not inferred.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(str(prepared), load_external_data=False)
        properties = _properties(model) or _properties(onnx.load(str(source)))
        kept = {node.name for node in model.graph.node} - quantised_nodes(model.graph)
        _quantise(prepared, unfinished, images, sorted(kept))
        quantised = onnx.load(str(unfinished))
        set_properties(quantised, properties)
        save(quantised, target)
    finally:
        for path in (prepared, unfinished):
            path.unlink(missing_ok=True)


def quantised_nodes(graph: GraphProto) -> set[str]:
    """Names of the layers to quantise, and of the ReLUs that follow them."""
    weights = {weight.name: weight.dims for weight in graph.initializer}
    layers = [
        node
        for node in graph.node
        if node.name.startswith(NETWORK)
        and node.op_type in _QUANTISED
        and node.input[1] in weights
        and weights[node.input[1]][1] > 1
    ][_FIRST_LAYERS:]
    outputs = {node.output[0] for node in layers}
    # A quantised ReLU is the lower bound of its layer's range.
    relus = [node for node in graph.node if node.op_type == "Relu" and node.input[0] in outputs]
    return {node.name for node in (*layers, *relus)}


def _quantise(
    source: Path, target: Path, images: Sequence[np.ndarray], excluded: list[str]
) -> None:
    """Run the quantiser of ONNX Runtime on all nodes except the excluded ones."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch}

    quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=[*_QUANTISED, "Relu"],
        nodes_to_exclude=excluded,
        extra_options={"CalibMovingAverage": True},
    )


def _properties(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
