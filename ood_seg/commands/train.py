"""Train or fine-tune a model from a config; takes what mmseg's tools/train.py takes."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import add_config
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG"
PAGE = "docs/finetuning.md"
EXAMPLES = (
    "ood-seg train energy-oe_fcn-erfnet-branch_300it_street-coco --work-dir work_dirs/branch",
    "ood-seg train my_config.py --cfg-options train_cfg.max_iters=1000",
    "ood-seg train my_config.py --resume",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg train`."""
    add_config(parser)
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
    precision = parser.add_argument_group("precision")
    precision.add_argument("--amp", action="store_true", help="automatic mixed precision")
    precision.add_argument(
        "--amp-dtype",
        choices=["float16", "bfloat16"],
        help="number type of --amp (which this implies; default float16, with loss scaling)",
    )
    parser.add_argument(
        "--log",
        type=lambda text: [name for name in text.split(",") if name],
        default=[],
        metavar="NAMES",
        help="send scalars and validation images to loggers too: tensorboard, mlflow, wandb, "
        "separated by commas",
    )
    prior = parser.add_mutually_exclusive_group()
    prior.add_argument(
        "--prior-images",
        type=int,
        metavar="N",
        help="measure the outlier prior of the balanced losses on N pasted scenes (default: as in "
        "the config's OutlierPriorHook)",
    )
    prior.add_argument(
        "--prior",
        metavar="FILE|NAME",
        help="read the outlier prior instead: a file of `ood-seg estimate-outlier-prior`, or a "
        "shipped one, `cityscapes-coco-wrn38`",
    )
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Train as the arguments say."""
    cfg = _arguments.load_config(args)
    from ood_seg.engine.training import train

    runner = train(
        cfg,
        resume=args.resume,
        resume_schedule=args.resume_schedule,
        amp=args.amp,
        amp_dtype=args.amp_dtype,
        loggers=args.log,
        prior_images=args.prior_images,
        prior_file=args.prior,
    )
    return Outcome(outputs=[runner.work_dir], numbers={"iterations": runner.iter})
