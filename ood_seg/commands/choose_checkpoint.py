"""Choose among checkpoints on one set of images and report the choice on others."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import CONFIG_HELP, add_model_positionals, add_named
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG CHECKPOINT..."
PAGE = "docs/recipes.md"
EXAMPLES = (
    "ood-seg choose-checkpoint mine.py work_dirs/mine/*.pth --select-on val --report-on fs_static",
    "ood-seg choose-checkpoint mine.py a.pth b.pth --select-on val --report-on road_anomaly",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg choose-checkpoint`."""
    add_model_positionals(
        parser,
        "config",
        "checkpoints",
        metavar="CONFIG CHECKPOINT...",
        help=f"{CONFIG_HELP}; and the candidates",
    )
    add_named(parser, "config", metavar="CONFIG", help="the same by name")
    add_named(
        parser,
        "checkpoint",
        dest="checkpoints",
        nargs="+",
        metavar="FILE",
        help="the candidates by name",
    )
    parser.add_argument(
        "--select-on",
        nargs="+",
        required=True,
        metavar="SET",
        help="sets to choose on: a test set's name, `val` (the config's validation set, with "
        "held-back pasted outliers in the shipped configs), or half a set, NAME:first-half",
    )
    parser.add_argument(
        "--report-on",
        nargs="+",
        required=True,
        metavar="SET",
        help="sets whose metrics are reported for the chosen one; must share no image with those",
    )
    parser.add_argument(
        "--metric",
        default="anomaly/ap",
        metavar="NAME",
        help="metric to choose by, its mean over the sets (default: anomaly/ap; FPR: lowest)",
    )
    _arguments.add_num_images(parser)
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Test every candidate on the first sets, the best one on the others."""
    if not args.checkpoints:
        raise ValueError("no checkpoint is given; give CONFIG and the candidates")
    cfg = _arguments.load_config(args)
    from mmengine.dist import is_main_process

    from ood_seg.engine.selection import RESULT_FILE, select_checkpoint
    from ood_seg.reports.tables import print_table
    from ood_seg.reports.test_results import candidates_table, results_table

    content = select_checkpoint(
        cfg,
        args.checkpoints,
        select_on=args.select_on,
        report_on=args.report_on,
        metric=args.metric,
        num_images=args.num_images,
    )
    if is_main_process():
        print_table(candidates_table(content))
        path = Path(cfg.work_dir) / RESULT_FILE
        print_table(results_table(content["report"]), f"{content['chosen']}; written to {path}")
    chosen = {"chosen": content["chosen"], "report": content["report"]}
    return Outcome(outputs=[Path(cfg.work_dir) / RESULT_FILE], numbers=chosen)
