"""Export a model to ONNX, with pre- and post-processing inside, and check it against torch."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import (
    CONFIG_HELP,
    add_model_positionals,
    add_named,
    require_config,
)
from ood_seg.commands._summary import Outcome
from ood_seg.progress import stages

USAGE = "CONFIG [CHECKPOINT] OUT.onnx"
PAGE = "docs/deployment.md"
EXAMPLES = (
    "ood-seg export-onnx energy_fcn-erfnet_cityscapes erfnet.onnx",
    "ood-seg export-onnx my_config.py my.pth my.onnx --calibration calibration.json",
    "ood-seg export-onnx my_config.py my.pth --file small.onnx --size 512x1024 --fp16",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg export-onnx`."""
    add_model_positionals(
        parser,
        "config",
        "checkpoint",
        "file",
        metavar=USAGE,
        help=f"{CONFIG_HELP}; the file of the weights (default, or -: the config's `load_from`); "
        "and the file to write, which sidecars are written beside",
    )
    add_named(parser, "config", metavar="CONFIG", help="the same by name")
    add_named(parser, "checkpoint", metavar="FILE", help="the same by name")
    parser.add_argument("--file", metavar="OUT.onnx", help="the same by name")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="of `ood-seg calibrate`: `anomaly` becomes a probability, `score` is the raw score, "
        "and the operating points are stored in the file. Default: the one beside the config, "
        "NAME.calibration.json, if it was made with this checkpoint; `none`: none",
    )
    parser.add_argument(
        "--allow-other-model",
        action="store_true",
        help="accept a --calibration that was made with another checkpoint, with a warning",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="input size of the network, or `dynamic` for the image's own size (default: as in "
        "the config's test pipeline). Images may always have any size",
    )
    _arguments.add_config_options(parser)
    _add_precision(parser.add_argument_group("precision"))
    graph = parser.add_argument_group("inputs and outputs")
    _add_input(graph)
    graph.add_argument("--logits", action="store_true", help="add the logits to the outputs")
    graph.add_argument("--opset", type=int, default=18, help="ONNX opset (default: 18)")


def _add_input(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--layout", choices=["nhwc", "nchw"], default="nhwc", help="of the input")
    parser.add_argument("--colour", choices=["bgr", "rgb"], default="bgr", help="of the input")
    parser.add_argument(
        "--input",
        choices=["uint8", "float32"],
        default="uint8",
        help="type of the input, 0..255 (float32 is for DeepStream)",
    )


def _add_precision(parser: argparse._ArgumentGroup) -> None:
    reduced = parser.add_mutually_exclusive_group()
    reduced.add_argument("--fp16", action="store_true", help="network in half precision")
    reduced.add_argument("--int8", action="store_true", help="network quantised to 8 bits")
    parser.add_argument(
        "--calibration-images",
        metavar="PATH",
        nargs="+",
        default=[],
        help="images of known classes, or folders of them, for --int8; not those of the "
        "evaluation. Of a folder at most 32 evenly spaced images are used",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Export as the arguments describe and print the result of the check."""
    if args.file is None:
        taken = "" if args.checkpoint is None else f"; {args.checkpoint!r} is the checkpoint"
        raise ValueError(f"give the file to write: OUT.onnx or --file OUT.onnx{taken}")
    require_config(args)
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.config_files import load_config
    from ood_seg.export.exporting import Options, export_onnx
    from ood_seg.export.precision import calibration_images

    with stages() as report:
        export = export_onnx(
            load_config(args.config, args.cfg_options),
            args.checkpoint,
            args.file,
            Options(
                layout=args.layout,
                colour=args.colour,
                input_type=args.input,
                size=args.size,
                logits=args.logits,
                precision="fp16" if args.fp16 else "int8" if args.int8 else "fp32",
                calibration_images=calibration_images(args.calibration_images),
                opset=args.opset,
            ),
            calibration=args.calibration,
            allow_other_model=args.allow_other_model,
            report=report,
        )
    print(export)
    return Outcome(outputs=export.files, numbers={"bytes": export.files[0].stat().st_size})
