"""Choose among checkpoints on one set of images and report the choice on others."""

from __future__ import annotations

import argparse
import copy
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _runner, _set_parts

if TYPE_CHECKING:
    from mmengine.config import Config

    from ood_seg.commands._report import Rows

_LOWER_IS_BETTER = "fpr"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg choose-checkpoint`."""
    parser.add_argument("config", help=_runner.CONFIG_HELP)
    parser.add_argument("checkpoints", nargs="+", help="the candidates")
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
        help="sets whose numbers are reported for the chosen one; must share no image with those",
    )
    parser.add_argument(
        "--metric",
        default="anomaly/ap",
        metavar="NAME",
        help="metric to choose by, its mean over the sets (default: anomaly/ap; FPR: lowest)",
    )
    _runner.add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Test every candidate on the first sets, the best one on the others."""
    from mmengine.registry import init_default_scope

    from ood_seg.commands import _report
    from ood_seg.io.json_files import write_json
    from ood_seg.io.provenance import git_commit

    cfg = _runner.load_config(args)
    cfg.model.pop("distillation", None)
    _runner.leave_out_logits(cfg)
    if len({Path(path).resolve() for path in args.checkpoints}) < len(args.checkpoints):
        raise ValueError(f"each checkpoint once, got {', '.join(args.checkpoints)}")
    for checkpoint in args.checkpoints:
        _runner.verify_readable(checkpoint)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    chosen_on = _set_parts.find_sets(cfg, args.select_on)
    reported_on = _set_parts.find_sets(cfg, args.report_on)
    _set_parts.require_disjoint(chosen_on, reported_on)
    trials = {path: _test(cfg, path, chosen_on) for path in args.checkpoints}
    values = {path: mean_of(rows, args.metric) for path, rows in trials.items()}
    best = best_of(values, args.metric)
    reported = _test(cfg, best, reported_on)
    if _runner.is_main_process():
        path = Path(cfg.work_dir) / "selection.json"
        content = {
            "config": str(cfg.filename),
            "metric": args.metric,
            "select_on": args.select_on,
            "report_on": args.report_on,
            "candidates": [
                {"checkpoint": c, "value": values[c], "sets": trials[c]} for c in trials
            ],
            "chosen": best,
            "report": reported,
            "seed": cfg.get("randomness", {}).get("seed"),
            "git_commit": git_commit(),
        }
        write_json(path, content)
        print_candidates(values, best, metric=args.metric, sets=args.select_on)
        _report.print_table(reported, note=f"{best}; written to {path}")
    return 0


def mean_of(rows: Rows, metric: str) -> float:
    """Mean of a metric over the sets.

    Raises:
        ValueError: a set does not have it, or it is NaN there.
    """
    for name, row in rows.items():
        if metric not in row:
            raise ValueError(f"set {name} has no metric {metric!r}, only: {', '.join(row)}")
        if not math.isfinite(row[metric]):
            raise ValueError(f"{metric} of set {name} is undefined, so it cannot choose")
    return sum(row[metric] for row in rows.values()) / len(rows)


def best_of(values: dict[str, float], metric: str) -> str:
    """The best candidate; among equals the first."""
    lowest = metric.rpartition("/")[2].startswith(_LOWER_IS_BETTER)
    return (min if lowest else max)(values, key=values.__getitem__)


def _test(cfg: Config, checkpoint: str, sets: dict) -> Rows:
    """Metrics of one checkpoint, one row a set."""
    from ood_seg.commands import _report

    cfg = copy.deepcopy(cfg)
    cfg.load_from, cfg.resume = checkpoint, False
    cfg.test_dataloader = {name: loader for name, (loader, _) in sets.items()}
    cfg.test_evaluator = {name: evaluator for name, (_, evaluator) in sets.items()}
    cfg.test_cfg = {"type": "MultiSetTestLoop"}
    # mmengine keeps one logger for each name, and one candidate is tested twice.
    cfg.experiment_name = f"{_slug(checkpoint)}_on_{_slug('_'.join(sets))}"
    return _report.by_set(_runner.build_runner(cfg).test(), list(sets))


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text)[-80:]


def print_candidates(values: dict[str, float], best: str, *, metric: str, sets: list[str]) -> None:
    """Print what each candidate reached on the sets that decide."""
    from ood_seg.reports.tables import Table, print_table

    rows = [
        (path, f"{value:.2f}", "chosen" if path == best else "") for path, value in values.items()
    ]
    header = ("checkpoint", f"{metric} on {', '.join(sets)}", "")
    print_table(Table("Candidates", header, rows, text_columns=("",)))
