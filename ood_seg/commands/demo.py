"""Draw street scenes, train, fine-tune with outliers, and show what it changes; no downloads."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.demo.data import write_demo_data
from ood_seg.demo.plan import FAST_PLAN, FULL_PLAN, METHODS, TRAININGS, DemoPlan
from ood_seg.startup import prepare

if TYPE_CHECKING:
    from rich.progress import Progress

_TITLES = {
    "pretrain": "train on the known classes",
    "energy_oe": "fine-tune, EnergyOE",
    "balanced_energy": "fine-tune, balanced EnergyOE",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg demo`."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo_output"),
        metavar="DIR",
        help="folder of all that is written (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the drawings and trainings (default: %(default)s)",
    )
    parser.add_argument(
        "--fast", action="store_true", help="a minute-long version; its numbers mean little"
    )


def run(args: argparse.Namespace) -> int:
    """Run all steps that are not finished, then print the table and write the figure."""
    from rich.console import Console

    prepare()
    from ood_seg.demo import report
    from ood_seg.demo.running import scores_folder

    if args.seed < 0:
        raise ValueError(f"--seed must be zero or more, got {args.seed}")
    started, console = time.monotonic(), Console(file=sys.stdout)
    plan = FAST_PLAN if args.fast else FULL_PLAN
    out = args.out
    results, seconds = _run_steps(out, plan, args.seed, console)
    rows = report.table_rows(results)
    before = next(m for m in METHODS if m.step == "pretrain" and m.score == "Energy")
    after = METHODS[-1]
    folders = report.score_folders(before, after, lambda m, name: scores_folder(m, out, name))
    report.draw_figure(out / "figure.png", out / "data", folders)
    (out / "table.md").write_text(report.markdown_table(rows), encoding="utf-8")
    content = {**plan.fingerprint(args.seed), "results": results, "seconds": seconds}
    (out / "results.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(report.rich_table(rows))
    console.print(f"Figure: {out / 'figure.png'}   Table: {out / 'table.md'}")
    console.print(f"Done in {time.monotonic() - started:.0f} s.")
    return 0


def _run_steps(out: Path, plan: DemoPlan, seed: int, console) -> tuple[dict, dict]:
    """Draw, train and test; returns the metrics by test folder and the seconds of each step."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ood_seg.demo.running import test_step, train_step

    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    results, seconds = {}, {}
    out.mkdir(parents=True, exist_ok=True)
    # Whatever the libraries print goes to a file, so that the bars stay whole.
    with (
        (out / "messages.log").open("a", encoding="utf-8") as messages,
        Progress(
            *columns, console=console, redirect_stdout=False, disable=not console.is_terminal
        ) as progress,
        contextlib.redirect_stdout(messages),
    ):
        bar = _Bar(progress, "draw scenes and objects", plan.data.pictures)
        write_demo_data(out / "data", seed, plan.data, advance=bar.advance)
        seconds["draw"] = bar.finish()
        for step in TRAININGS:
            bar = _Bar(progress, _TITLES[step])
            train_step(step, out, plan, seed, bar.report)
            seconds[step] = bar.finish()
        tested = plan.data.road_anomaly + plan.data.fishyscapes + plan.data.val
        for method in METHODS:
            bar = _Bar(progress, f"test {method.name}, {method.score_name}", tested)
            results[method.folder] = test_step(method, out, plan, seed, bar.report)
            seconds[f"test {method.folder}"] = bar.finish()
    return results, seconds


class _Bar:
    """One progress bar; the length may become known later."""

    def __init__(self, progress: Progress, title: str, total: int | None = None) -> None:
        self._started, self._total = time.monotonic(), total
        self._title, self._console = title, progress.console
        self._task = progress.add_task(title, total=total, note="")
        self._update = partial(progress.update, self._task)

    def advance(self) -> None:
        self._update(advance=1)

    def report(self, done: int, total: int, note: str) -> None:
        """Show `done` of `total` steps; 0 keeps the total that is known."""
        self._total = total or self._total
        self._update(completed=done, total=self._total, note=note)

    def finish(self) -> float:
        """Fill the bar, also where nothing had to be done; returns the seconds it took."""
        total = self._total or 1
        self._update(completed=total, total=total, note="")
        seconds = time.monotonic() - self._started
        if not self._console.is_terminal:
            self._console.print(f"{self._title}: {seconds:.0f} s", highlight=False)
        return round(seconds, 1)
