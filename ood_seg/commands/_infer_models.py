"""The model that `infer` and `serve` run: a config with its checkpoint, or an exported graph."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ood_seg.perception.io.shards import Shard

if TYPE_CHECKING:
    from ood_seg.perception.run.segmentor import Segmentor


def add_arguments(parser: argparse.ArgumentParser, *, config_help: str) -> None:
    """Add what chooses the model of `infer` and its decision."""
    model = parser.add_argument_group("model")
    which = model.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", help=config_help)
    which.add_argument(
        "--onnx", metavar="MODEL", help="exported model, run by ONNX Runtime without torch"
    )
    decision = parser.add_argument_group("decision")
    decision.add_argument(
        "--calibration",
        metavar="FILE",
        help="also write the anomaly probability as float32 .npy and a mask as .png (255 where an "
        "anomaly is flagged), by this file of `ood-seg calibrate`",
    )
    add_shared_arguments(model, decision)


def add_shared_arguments(model: argparse._ArgumentGroup, decision: argparse._ArgumentGroup) -> None:
    """Add what `infer` and `serve` have in common."""
    model.add_argument("--checkpoint", help="checkpoint file; by default the config's load_from")
    model.add_argument("--device", help="by default cuda where there is one, else cpu")
    model.add_argument("--openvino", action="store_true", help="run an exported model by OpenVINO")
    model.add_argument(
        "--smoothing",
        nargs="+",
        metavar=("SIZE", "SIGMA"),
        help="Gaussian on the scores instead of the config's: an odd size and a sigma, or `none`",
    )
    decision.add_argument(
        "--operating-point",
        metavar="NAME|NUMBER",
        help="threshold of the mask, such as 'fpr 5%%', or a score; by default the first of the "
        "calibration or exported model",
    )
    decision.add_argument(
        "--min-area",
        type=int,
        metavar="PIXELS",
        help="smaller groups are no objects (default: that of the calibration, or 50)",
    )
    region = decision.add_mutually_exclusive_group()
    region.add_argument(
        "--region",
        help="where pixels are flagged: class names such as `road,sidewalk`, "
        "`polygon:X,Y;X,Y;X,Y` in pixels or fractions, or `mask:FILE`",
    )
    region.add_argument(
        "--road",
        action="store_const",
        const="road",
        dest="region",
        help="the same as --region road",
    )


def build(args: argparse.Namespace, shard: Shard) -> Segmentor:
    """Load the model: `args.onnx`, or else `args.config`.

    Raises:
        FileNotFoundError, ValueError: the model says what is wrong.
    """
    names = ("operating_point", "region", "min_area")
    options: dict[str, Any] = {name: getattr(args, name) for name in names}
    if args.onnx:
        return _exported(args, options)
    if args.openvino:
        raise ValueError(f"--openvino runs exported models (.onnx), not the config {args.config}")
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.apis.inferencer import AnomalyInferencer

    return AnomalyInferencer(
        args.config,
        args.checkpoint,
        args.device or _device_of(shard),
        calibration=args.calibration,
        smoothing=parse_smoothing(args.smoothing),
        **options,
    )


def _exported(args: argparse.Namespace, options: dict[str, Any]) -> Segmentor:
    for name in ("checkpoint", "calibration", "smoothing"):
        if getattr(args, name):
            raise ValueError(
                f"--{name} belongs to a config; an exported model holds its own, so give it to "
                "`ood-seg export-onnx`"
            )
    from ood_seg.deploy import OnnxAnomalySegmentor

    runtime = "openvino" if args.openvino else "onnxruntime"
    return OnnxAnomalySegmentor(args.onnx, runtime=runtime, device=args.device, **options)


def _device_of(shard: Shard) -> str | None:
    """A GPU for each process of a machine; None leaves the choice to the model."""
    if shard.world == 1:
        return None
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{shard.local_rank % count}" if count else None


def parse_smoothing(values: list[str] | None) -> dict[str, float] | bool | None:
    """Keyword arguments of the smoothing, False for `none`, None for the config's.

    Raises:
        ValueError: anything else.
    """
    if values is None:
        return None
    if values == ["none"]:
        return False
    try:
        size, sigma = values
        return {"kernel_size": int(size), "sigma": float(sigma)}
    except ValueError:
        raise ValueError(
            f"--smoothing: expected SIZE SIGMA such as `7 1.5`, or `none`, got {' '.join(values)}"
        ) from None


def stages(args: argparse.Namespace) -> dict[str, Any]:
    """Temporal filter and tracker, where asked for."""
    stages: dict[str, Any] = {}
    if args.temporal is not None or args.motion:
        from ood_seg.perception.core.temporal import TemporalFilter

        weight = 0.5 if args.temporal is None else args.temporal
        stages["temporal"] = TemporalFilter(weight, motion=args.motion)
    if args.track:
        from ood_seg.perception.core.tracking import InstanceTracker

        stages["tracker"] = InstanceTracker()
    return stages


def check_outputs(args: argparse.Namespace, kinds: Sequence[str], segmentor: Segmentor) -> None:
    """Refuse what this model cannot give, before any picture is read.

    Raises:
        ValueError: masks or objects without a threshold, probabilities without a calibration.
    """
    import numpy as np

    if segmentor.threshold is None and ("mask" in kinds or args.track):
        option = "--save mask" if "mask" in kinds else "--track"
        raise ValueError(f"{option} needs a threshold; give --operating-point NAME or NUMBER")
    if "probability" in kinds and segmentor.probability(np.zeros((1, 1), np.float32)) is None:
        raise ValueError(
            "--save probability needs a calibration; give --calibration FILE, or an exported model "
            "that holds one"
        )


def say_threshold(segmentor: Segmentor) -> None:
    """Print what flags a pixel."""
    if segmentor.threshold is None:
        print("no operating point: scores alone, no mask and no objects (see --operating-point)")
    else:
        name = segmentor.operating_point
        at = "" if name is None else f" at {name!r}"
        print(f"flagged{at}: scores from {segmentor.threshold:.6g} on")
