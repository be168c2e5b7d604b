"""Arguments for the model and the decision, shared by `infer` and `serve`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ood_seg.commands._default_model import remember_model
from ood_seg.commands._model_arguments import CHECKPOINT_HELP, CONFIG_HELP, add_named
from ood_seg.commands._refine_arguments import add_refinement
from ood_seg.perception.core.decision import threshold_description
from ood_seg.perception.io.shards import SINGLE_PROCESS, Shard

if TYPE_CHECKING:
    from ood_seg.perception.run.segmentor import Segmentor


def add_segmentor_arguments(
    common: argparse._ActionsContainer,
    model: argparse._ArgumentGroup,
    decision: argparse._ArgumentGroup,
) -> None:
    """Add the options that `load` uses.

    Args:
        common: those that name the model, its calibration and its operating point.
        model: the others of the model.
        decision: the others of the decision.
    """
    add_named(common, "config", metavar="CONFIG", help=CONFIG_HELP)
    common.add_argument(
        "--checkpoint",
        metavar="FILE",
        help=f"{CHECKPOINT_HELP}; alone: of `ood-seg train`, which wrote the config beside it",
    )
    common.add_argument(
        "--onnx", metavar="FILE", help="model of `ood-seg export-onnx`, which needs no torch"
    )
    common.add_argument(
        "--calibration",
        metavar="FILE",
        help="of `ood-seg calibrate`, for a config (default: the one beside it, "
        "NAME.calibration.json, if it was made with this checkpoint); an .onnx has its own; "
        "`none`: none",
    )
    common.add_argument(
        "--operating-point",
        metavar="NAME|NUMBER",
        help="threshold of the mask: a name such as fpr-5%%, or a score; by default the first "
        "operating point of the calibration or exported model",
    )
    model.add_argument("--device", help="by default cuda where available, else cpu")
    model.add_argument("--openvino", action="store_true", help="run an exported model by OpenVINO")
    model.add_argument(
        "--smoothing",
        nargs="+",
        metavar=("SIZE", "SIGMA"),
        help="smooth the scores with a Gaussian other than that of the config: an odd size and a "
        "sigma, or `none`",
    )
    decision.add_argument(
        "--min-area",
        type=int,
        metavar="PIXELS",
        help="components of fewer pixels are not objects (default: as in the calibration, or 50)",
    )
    decision.add_argument(
        "--allow-other-model",
        action="store_true",
        help="accept a --calibration that was made with another checkpoint, with a warning",
    )
    decision.add_argument(
        "--boundary-suppression",
        nargs="?",
        type=int,
        const=15,
        default=0,
        metavar="WIDTH",
        help="do not flag strips of up to WIDTH pixels (default 15) along a boundary between two "
        "known classes",
    )
    add_refinement(decision)
    region = decision.add_mutually_exclusive_group()
    region.add_argument(
        "--region",
        help="where pixels may be flagged: class names such as `road,sidewalk`, "
        "`polygon:X,Y;X,Y;X,Y` in pixels or fractions, or `mask:FILE`",
    )
    region.add_argument(
        "--road", action="store_const", const="road", dest="region", help="same as --region road"
    )


def load(args: argparse.Namespace, shard: Shard = SINGLE_PROCESS) -> Segmentor:
    """Load the model `args.onnx`, or else `args.config`; remember it and print its threshold.

    Raises:
        FileNotFoundError, ValueError: see `load_segmentor`.
    """
    from ood_seg.apis.segmentors import load_segmentor

    segmentor = load_segmentor(
        args.onnx or args.config,
        args.checkpoint,
        exported=bool(args.onnx),
        device=args.device,
        local_rank=shard.local_rank if shard.world > 1 else None,
        openvino=args.openvino,
        calibration=args.calibration,
        smoothing=parse_smoothing(args.smoothing),
        operating_point=args.operating_point,
        min_area=args.min_area,
        region=args.region,
        refinement=args.refine,
        boundary_suppression=args.boundary_suppression,
        allow_other_model=args.allow_other_model,
    )
    if shard.rank == 0:
        remember_model(args)
    print(segmentor.calibration_note)
    print(threshold_description(segmentor.decision_rule))
    return segmentor


def parse_smoothing(values: list[str] | None) -> dict[str, float] | bool | None:
    """Return the keyword arguments of the smoothing, False for `none`, None if not given.

    Raises:
        ValueError: other values.
    """
    if values is None or values == ["none"]:
        return None if values is None else False
    try:
        size, sigma = values
        return {"kernel_size": int(size), "sigma": float(sigma)}
    except ValueError:
        raise ValueError(
            f"--smoothing: expected SIZE SIGMA such as `7 1.5`, or `none`, got {' '.join(values)}"
        ) from None
