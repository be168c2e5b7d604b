"""Export a model to ONNX, with pre- and post-processing inside, and check it against torch."""

from __future__ import annotations

import argparse
import sys

from ood_seg.commands import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg export-onnx`."""
    _arguments.add_config(parser)
    parser.add_argument("checkpoint", help="checkpoint file, or - for the config's load_from")
    parser.add_argument("out", metavar="OUT.onnx", help="sidecars are written beside it")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="of `ood-seg calibrate`: `anomaly` becomes a probability, `score` is the raw score, "
        "and the operating points are stored in the file",
    )
    parser.add_argument(
        "--allow-other-model",
        action="store_true",
        help="accept a --calibration that was made with another checkpoint, with a warning",
    )
    _add_input(parser)
    parser.add_argument("--logits", action="store_true", help="add the logits to the outputs")
    _add_precision(parser)
    parser.add_argument("--opset", type=int, default=18, help="ONNX opset (default: 18)")
    _arguments.add_config_options(parser)


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=["nhwc", "nchw"], default="nhwc", help="of the input")
    parser.add_argument("--colour", choices=["bgr", "rgb"], default="bgr", help="of the input")
    parser.add_argument(
        "--input",
        choices=["uint8", "float32"],
        default="uint8",
        help="type of the input, 0..255 (float32 is for DeepStream)",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="input size of the network, or `dynamic` for the image's own size (default: as in "
        "the config's test pipeline). Images may always have any size",
    )


def _add_precision(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace) -> int:
    """Export as the arguments describe and print the result of the check."""
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.config_files import load_config
    from ood_seg.export.exporting import Options, export_onnx
    from ood_seg.export.precision import calibration_images

    export = export_onnx(
        load_config(args.config, args.cfg_options),
        None if args.checkpoint == "-" else args.checkpoint,
        args.out,
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
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(export)
    return 0
