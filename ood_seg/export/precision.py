"""Half precision and 8-bit quantisation of the network; what surrounds it stays in float32.

Pre-processing, the last classifier and all after it (interpolation, score, calibration, arg-max)
are left alone: the score compares logits, and small differences of these are its meaning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.export.half import to_half
from ood_seg.export.onnx_file import NETWORK, save, set_properties

if TYPE_CHECKING:
    from onnx import ModelProto

NAMES = ("fp32", "fp16", "int8")

# Ranges averaged over the pictures. Their extremes over all of them cost ERFNet 8 points of mIoU,
# the averages 2.
_RANGES = {"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.2}


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
    """Quantise the network statically: 8-bit weights per channel, 8-bit activations.

    Args:
        source: file in float32.
        target: file to write.
        images: inputs of the graph, each a batch, of known classes; the ranges of activations
            are those seen on them.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_name(f".{target.name}.prepared.onnx")
    unfinished = target.with_name(f".{target.name}.int8.onnx")
    logging.getLogger().addFilter(_is_news)
    try:
        # Folds batch norms into convolutions; shapes are free, so nothing is inferred from them.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(str(prepared), load_external_data=False)
        properties = _properties(model) or _properties(onnx.load(str(source)))
        outside = [node.name for node in model.graph.node if not node.name.startswith(NETWORK)]
        _quantise(prepared, unfinished, images, outside)
        quantised = onnx.load(str(unfinished))
        set_properties(quantised, properties)
        save(quantised, target)
    finally:
        logging.getLogger().removeFilter(_is_news)
        for path in (prepared, unfinished):
            path.unlink(missing_ok=True)


def _quantise(
    source: Path, target: Path, images: Sequence[np.ndarray], excluded: list[str]
) -> None:
    """Run the quantiser on all nodes but the excluded ones."""
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
        nodes_to_exclude=excluded,
        extra_options=_RANGES,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log line is not the one on batch norms that fold into no layer.

    These have one number per channel, so that one scale serves all of them.
    """
    return "is out-of-range for weight" not in record.getMessage()


def _properties(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
