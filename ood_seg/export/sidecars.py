"""Files beside an exported model for what reads no ONNX metadata: servers, robots, people."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from ood_seg.deploy.model_card import SCHEMA_NAME, SCHEMA_VERSION, ModelCard
from ood_seg.io.files import write_text

UNLABELLED = 255


def write(card: ModelCard, model: Path) -> list[Path]:
    """Write all side-cars; they are called as the model is.

    Args:
        card: the metadata.
        model: path of the ONNX file.

    Returns:
        The files written.
    """
    texts = {
        "json": as_json(card, model.name),
        "labels.txt": "".join(f"{name}\n" for name in card.classes),
        "config.pbtxt": triton(card, model.stem),
        "nvinfer.txt": deepstream(card, model.name),
        "label_info.yaml": label_info(card),
    }
    files = []
    for suffix, text in texts.items():
        files.append(model.with_name(f"{model.stem}.{suffix}"))
        write_text(files[-1], text)
    return files


def tensors(card: ModelCard) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Type and shape of inputs and of outputs, without the batch; -1 is free."""
    shape = (-1, -1, 3) if card.layout == "nhwc" else (3, -1, -1)
    kinds = {
        "labels": ("uint8", (-1, -1)),
        "anomaly": ("float32", (-1, -1)),
        "score": ("float32", (-1, -1)),
        "logits": ("float32", (card.channels, -1, -1)),
    }
    return {"image": (card.input_type, shape)}, {name: kinds[name] for name in card.outputs}


def as_json(card: ModelCard, model: str) -> str:
    """The metadata, and the tensors of the graph."""
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
    """`config.pbtxt` of Triton's model repository, with dynamic batching."""
    kinds = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
    inputs, outputs = tensors(card)

    def listed(part: dict[str, tuple]) -> str:
        entries = [
            f'  {{\n    name: "{tensor}"\n    data_type: {kinds[kind]}\n'
            f"    dims: [ {', '.join(map(str, shape))} ]\n  }}"
            for tensor, (kind, shape) in part.items()
        ]
        return ",\n".join(entries)

    return (
        f"# Put this file at REPOSITORY/{name}/config.pbtxt and the model at "
        f"REPOSITORY/{name}/1/model.onnx.\n"
        "# Triton batches requests of one image size; others go one by one.\n"
        f'name: "{name}"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 8\n"
        f"input [\n{listed(inputs)}\n]\n"
        f"output [\n{listed(outputs)}\n]\n"
        "dynamic_batching {\n  max_queue_delay_microseconds: 1000\n}\n"
    )


_NVINFER_FITS = """\
# Gst-nvinfer (DeepStream). The graph normalises, so nvinfer only converts and scales the frame.
# Nothing is parsed (network-type=100): nvinfer's own segmentation parser takes the first output
# for class scores. `labels` and `anomaly` come as tensor metadata (output-tensor-meta=1), for a
# probe of yours.
"""
_NVINFER_UNFIT = """\
# Gst-nvinfer (DeepStream) CANNOT run this export as it is: it feeds float32 planes (N,3,H,W).
# Export once more with
#     --input float32 --layout nchw --colour rgb
# and use the nvinfer file of that export. Alternatives: Triton through Gst-nvinferserver, which
# takes this model as it is.
"""


def deepstream(card: ModelCard, model: str) -> str:
    """Configuration of DeepStream's `nvinfer` element, or what keeps it from this model."""
    fits = (card.input_type, card.layout) == ("float32", "nchw")
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
    head = _NVINFER_FITS if fits else _NVINFER_UNFIT
    return head + "\n".join(["[property]", *lines]) + "\n"


def label_info(card: ModelCard) -> str:
    """A `vision_msgs/LabelInfo` message as YAML.

    Its `threshold` is a probability, so without a calibration there is none to give.
    """
    names = [*card.classes]
    entries = [*enumerate(names), (UNLABELLED, "UNLABELED")]
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
