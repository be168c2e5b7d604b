"""Evaluate a checkpoint on the test sets of a config; takes what mmseg's tools/test.py takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _runner, _test_sets

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg test`."""
    _runner.add_model_arguments(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="save the score maps as DIR/SET/IMAGE.npy (DIR/IMAGE.npy where the config has one "
        "nameless set)",
    )
    parser.add_argument(
        "--sets", nargs="+", metavar="NAME", help="only these test sets (default: all)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation, by the config's tta_pipeline"
    )
    parser.add_argument("--show", action="store_true", help="show each prediction in a window")
    parser.add_argument("--show-dir", metavar="DIR", help="save a picture of each prediction")
    parser.add_argument(
        "--wait-time",
        type=float,
        default=2,
        metavar="SECONDS",
        help="per picture of --show (default: %(default)s)",
    )
    _runner.add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate as the arguments say; print the table and write `metrics.json`."""
    from ood_seg.commands import _report
    from ood_seg.commands._hooks import ImageCounter
    from ood_seg.io.json_files import write_json

    cfg = _runner.load_config(args)
    choose_checkpoint(cfg, args.checkpoint)
    # The teacher is of use in training alone, and would load a second checkpoint.
    cfg.model.pop("distillation", None)
    _runner.leave_out_logits(cfg)
    if args.sets:
        _test_sets.keep_sets(cfg, args.sets)
    if args.tta:
        _test_sets.use_tta(cfg)
    if args.out:
        _test_sets.save_predictions(cfg, Path(args.out))
    if args.show or args.show_dir:
        draw_predictions(cfg, show=args.show, wait_time=args.wait_time, folder=args.show_dir)
    _runner.verify_readable(cfg.load_from)
    counter = ImageCounter()
    runner = _runner.build_runner(cfg, counter)
    results = runner.test()
    if _runner.is_main_process():
        rows = _report.by_set(results, list(_test_sets.named_sets(cfg)))
        path = Path(runner.work_dir) / "metrics.json"
        content = _report.describe(
            cfg, runner, rows, counts=counter.counts, modes=counter.modes, tta=args.tta
        )
        write_json(path, content)
        _report.print_table(rows, note=f"{_report.rules(content)}\nwritten to {path}".lstrip())
    return 0


def choose_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    """Set the config's `load_from` to the checkpoint to be tested, and never resume.

    Raises:
        ValueError: neither the command nor the config names one.
    """
    cfg.load_from = checkpoint or cfg.get("load_from")
    cfg.resume = False
    if not cfg.load_from:
        raise ValueError(
            "no checkpoint: the config has no `load_from`; "
            "give the file as the second argument, after the config"
        )


def draw_predictions(cfg: Config, *, show: bool, wait_time: float, folder: str | None) -> None:
    """Switch on the visualisation hook of the config.

    Raises:
        ValueError: the config has none.
    """
    hook = cfg.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise ValueError(
            "--show and --show-dir need a visualization hook in the config's default_hooks: "
            "visualization=dict(type='AnomalyVisualizationHook')"
        )
    hook["draw"] = True
    if show:
        hook["show"] = True
        hook["wait_time"] = wait_time
    if folder:
        hook["out_dir"] = folder
