"""Sidecars of an exported model, for software that does not read ONNX metadata."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ood_seg.deploy.model_card import SCHEMA_NAME, SCHEMA_VERSION, ModelCard
from ood_seg.io.files import atomic_path
from ood_seg.labels import label_type, unlabelled


@contextlib.contextmanager
def written(card: ModelCard, model: Path) -> Iterator[list[Path]]:
    """Context manager: all sidecars, which appear when the block succeeds.

    They are JSON, class names, and configurations for Triton, DeepStream and `LabelInfo`, with the
    name of the model and other suffixes. All are written before the block begins.

    Args:
        card: the metadata.
        model: path of the ONNX file.
    """
    texts = {
        "json": as_json(card, model.name),
        "labels.txt": "".join(f"{name}\n" for name in card.classes),
        "config.pbtxt": triton(card, model.stem),
        "nvinfer.txt": deepstream(card, model.name),
        "label_info.yaml": label_info(card),
    }
    files = [model.with_name(f"{model.stem}.{suffix}") for suffix in texts]
    with contextlib.ExitStack() as stack:
        for file, text in zip(files, texts.values(), strict=True):
            content = text.encode("utf-8", "backslashreplace")
            stack.enter_context(atomic_path(file)).write_bytes(content)
        yield files


def tensors(card: ModelCard) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Types and shapes of the inputs and the outputs, without the batch axis; -1 is dynamic."""
    shape = (-1, -1, 3) if card.layout == "nhwc" else (3, -1, -1)
    kinds = {
        "labels": (label_type(len(card.classes)), (-1, -1)),
        "anomaly": ("float32", (-1, -1)),
        "score": ("float32", (-1, -1)),
        "logits": ("float32", (card.channels, -1, -1)),
    }
    return {"image": (card.input_type, shape)}, {name: kinds[name] for name in card.outputs}


def as_json(card: ModelCard, model: str) -> str:
    """The metadata and the tensors of the graph as JSON."""
    described = [
        {
            name: {"type": kind, "shape": ["N", *("?" if n < 0 else n for n in shape)]}
            for name, (kind, shape) in part.items()
        }
        for part in tensors(card)
    ]
    content = {
        "schema": f"{SCHEMA_NAME}/{SCHEMA_VERSION}",
        "model": model,
        "inputs": described[0],
        "outputs_of_graph": described[1],
        **asdict(card),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def triton(card: ModelCard, name: str) -> str:
    """`config.pbtxt` for a model repository of Triton, with dynamic batching."""
    kinds = {"uint8": "TYPE_UINT8", "uint16": "TYPE_UINT16", "float32": "TYPE_FP32"}
    inputs, outputs = tensors(card)

    def tensor_list(part: dict[str, tuple]) -> str:
        entries = [
            f'  {{\n    name: "{tensor}"\n    data_type: {kinds[kind]}\n'
            f"    dims: [ {', '.join(map(str, shape))} ]\n  }}"
            for tensor, (kind, shape) in part.items()
        ]
        return ",\n".join(entries)

    return (
        f"# Copy this file to REPOSITORY/{name}/config.pbtxt and the model to "
        f"REPOSITORY/{name}/1/model.onnx.\n"
        "# Triton only batches requests of equal image size.\n"
        f'name: "{name}"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 8\n"
        f"input [\n{tensor_list(inputs)}\n]\n"
        f"output [\n{tensor_list(outputs)}\n]\n"
        "dynamic_batching {\n  max_queue_delay_microseconds: 1000\n}\n"
    )


_NVINFER_SUPPORTED = """\
# Gst-nvinfer (DeepStream). The graph normalises, so nvinfer only converts and scales the frame.
# The outputs are not parsed (network-type=100), because nvinfer's segmentation parser would read
# the first output as class scores. `labels` and `anomaly` are attached as tensor metadata
# (output-tensor-meta=1), to be read by your own probe.
"""
_NVINFER_UNSUPPORTED = """\
# Gst-nvinfer (DeepStream) CANNOT run this export: its input is float32 planes (N,3,H,W).
# Export again with
#     --input float32 --layout nchw --colour rgb
# and use the nvinfer file of that export, or run this model with Triton through
# Gst-nvinferserver.
"""


def deepstream(card: ModelCard, model: str) -> str:
    """Configuration of DeepStream's `nvinfer`; a comment states whether it supports the model."""
    supported = (card.input_type, card.layout) == ("float32", "nchw")
    height = card.size.get("height") or 512
    width = card.size.get("width") or 1024
    if card.size["kind"] == "keep_ratio" and height > width:
        height, width = width, height
    settings = {
        "onnx-file": model,
        "network-type": 100,
        "network-mode": {"fp32": 0, "int8": 1, "fp16": 2}[card.precision],
        "batch-size": 1,
        "infer-dims": f"3;{height};{width}",
        "network-input-order": 0,
        "model-color-format": {"rgb": 0, "bgr": 1}[card.colour],
        "net-scale-factor": 1.0,
        "offsets": "0;0;0",
        "maintain-aspect-ratio": 0,
        "output-tensor-meta": 1,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    comment = _NVINFER_SUPPORTED if supported else _NVINFER_UNSUPPORTED
    return comment + "\n".join(["[property]", *lines]) + "\n"


def label_info(card: ModelCard) -> str:
    """A `vision_msgs/LabelInfo` message as YAML.

    Its `threshold` is a probability, so it is 0 without a calibration.
    """
    names = [*card.classes]
    entries = [*enumerate(names), (unlabelled(len(names)), "UNLABELED")]
    lines = [f"  - {{class_id: {i}, class_name: {json.dumps(name)}}}" for i, name in entries]
    point = next(iter(card.thresholds), None)
    value = None if point is None else card.probability(card.thresholds[point])
    note = f"  # probability at {json.dumps(point)}" if value is not None else "  # no calibration"
    threshold = 0.0 if value is None or not math.isfinite(value) else round(float(value), 9)
    return (
        "# vision_msgs/msg/LabelInfo of the label image.\n"
        "header: {stamp: {sec: 0, nanosec: 0}, frame_id: ''}\n"
        "class_map:\n" + "\n".join(lines) + f"\nthreshold: {threshold}{note}\n"
    )
