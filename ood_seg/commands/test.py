"""Evaluate a checkpoint on the test sets of a config; takes what mmseg's tools/test.py takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import add_model
from ood_seg.commands._refine_arguments import add_refinement
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/evaluation.md"
EXAMPLES = (
    "ood-seg test energy_fcn-erfnet_cityscapes",
    "ood-seg test my_config.py my.pth --sets road_anomaly --out maps/",
    "ood-seg test work_dirs/branch/iter_300.pth",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg test`."""
    add_model(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="save the score maps as DIR/SET/IMAGE.npy (DIR/IMAGE.npy where the config has one "
        "nameless set); the scores of an image-level config as DIR/SET/scores.csv, with a report "
        "of each set of outliers, DIR/SET/report.html",
    )
    parser.add_argument(
        "--sets", nargs="+", metavar="NAME", help="only these test sets (default: all)"
    )
    _arguments.add_num_images(parser)
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation, by the config's tta_pipeline"
    )
    parser.add_argument(
        "--branch-iou",
        action="store_true",
        help="mIoU also of the labels that the anomaly branch would give (branch/mIoU); a "
        "prediction keeps those of the frozen weights",
    )
    add_refinement(parser)
    figures = parser.add_argument_group("figures")
    figures.add_argument("--show", action="store_true", help="show each prediction in a window")
    figures.add_argument("--show-dir", metavar="DIR", help="save a figure of each prediction")
    figures.add_argument(
        "--wait-time",
        type=float,
        default=2,
        metavar="SECONDS",
        help="per figure of --show (default: %(default)s)",
    )
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate as the arguments say; print the table and write `metrics.json`."""
    cfg = _arguments.load_config(args)
    from mmengine.dist import is_main_process

    from ood_seg.engine import testing
    from ood_seg.engine.test_sets import is_image_level
    from ood_seg.reports.image_level import write_image_reports
    from ood_seg.reports.tables import print_table
    from ood_seg.reports.test_results import protocol_lines, results_table

    content = testing.test(
        cfg,
        args.checkpoint,
        sets=args.sets or (),
        num_images=args.num_images,
        tta=args.tta,
        branch_iou=args.branch_iou,
        out=args.out,
        refine=args.refine,
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
    )
    if is_main_process():
        rows = {name: one["metrics"] for name, one in content["sets"].items()}
        rows |= {"average": content["average"]} if content["average"] else {}
        path = Path(cfg.work_dir).absolute() / testing.RESULT_FILE
        lines = [*protocol_lines(content), f"written to {path}"]
        if args.out and is_image_level(cfg):
            known = cfg.test_cfg.known
            method = Path(cfg.filename or "model").stem
            pages = write_image_reports(content, args.out, known=known, method=method)
            lines += [f"report: {page}" for page in pages.values()]
        print_table(results_table(rows), *lines)
    outputs = [Path(cfg.work_dir) / testing.RESULT_FILE, *([args.out] if args.out else [])]
    metrics = {name: one["metrics"] for name, one in content["sets"].items()}
    return Outcome(outputs=outputs, numbers=metrics)
