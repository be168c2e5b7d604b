"""Train or fine-tune a model from a config; takes what mmseg's tools/train.py takes."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg train`."""
    _arguments.add_config(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume from the last checkpoint in the work dir; without one, start as usual",
    )
    parser.add_argument(
        "--resume-schedule",
        choices=["config", "checkpoint"],
        help="the learning-rate schedule of a resumed run where config and checkpoint differ "
        "(default: the difference is an error that shows both)",
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument(
        "--amp-dtype",
        choices=["float16", "bfloat16"],
        help="number type of --amp (which this implies; default float16, with loss scaling)",
    )
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say."""
    cfg = _arguments.load_config(args)
    from ood_seg.engine.training import train

    train(
        cfg,
        resume=args.resume,
        resume_schedule=args.resume_schedule,
        amp=args.amp,
        amp_dtype=args.amp_dtype,
    )
    return 0
