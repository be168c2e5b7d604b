"""Check the data sets on disk: what is found, what is missing or wrong, and what to do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ood_seg.datasets.setup.checks import Report

_DEFAULT_ROOT = "data"
_COLOURS = {"found": "green", "missing": "yellow", "problems": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg check-data`."""
    parser.add_argument(
        "root",
        nargs="?",
        help=f"folder of all data sets (default: $OOD_SEG_DATA, else ./{_DEFAULT_ROOT})",
    )
    parser.add_argument(
        "--quick", action="store_true", help="names, numbers and sizes alone: read no pixels"
    )
    parser.add_argument(
        "--config", help="check the data sets of this config instead (a file or a shipped name)"
    )


def run(args: argparse.Namespace) -> int:
    """Check and print; return 1 if a set that is there, or that the config names, has problems."""
    if args.config:
        if args.root:
            raise ValueError("give ROOT or --config, not both; a config holds its own paths")
        reports = _check_config(args.config, quick=args.quick)
        print_reports(reports, title=f"data sets of {args.config}")
        return int(any(report.state != "found" for report in reports))
    root = data_root(args.root)
    reports = _check_root(root, quick=args.quick)
    print_reports(reports, title=f"data sets in {root}")
    return int(any(report.state == "problems" for report in reports))


def data_root(given: str | None) -> Path:
    """Return the folder of all data sets.

    Raises:
        FileNotFoundError: it does not exist.
    """
    root = Path(given or os.environ.get("OOD_SEG_DATA") or _DEFAULT_ROOT).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"data folder {root} not found; give it as `ood-seg check-data FOLDER`, or set "
            "OOD_SEG_DATA to the folder that holds cityscapes, road_anomaly, ..."
        )
    return root


def _check_root(root: Path, *, quick: bool) -> list[Report]:
    from ood_seg.datasets.setup.known_sets import KNOWN_SETS
    from ood_seg.datasets.setup.set_checks import (
        SetOnDisk,
        check_set,
        find_coco,
        find_set,
        find_weights,
    )

    def job(on_disk: SetOnDisk) -> Callable[[Callable[[], None]], Report]:
        return lambda advance: check_set(on_disk, quick=quick, advance=advance)

    sets = [find_set(known_set, root) for known_set in KNOWN_SETS]
    total = sum(on_disk.num_pairs for on_disk in sets)
    reports = with_progress([(on_disk.known_set.name, job(on_disk)) for on_disk in sets], total)
    return [*reports, find_coco(root, quick=quick), find_weights(root, quick=quick)]


def _check_config(name: str, *, quick: bool) -> list[Report]:
    from ood_seg.config_files import resolve_config
    from ood_seg.datasets.setup.config_sets import check_config_set, outlier_sources, sets_of_config
    from ood_seg.datasets.setup.set_checks import check_coco
    from ood_seg.startup import prepare

    prepare()
    from mmengine.config import Config

    import ood_seg.register  # noqa: F401

    path = resolve_config(name)
    sets = sets_of_config(path)
    if not sets:
        raise ValueError(f"config {name} names no data set in its train, val and test dataloaders")
    jobs = [(found.name, partial(check_config_set, found, quick=quick)) for found in sets]
    sources = outlier_sources(Config.fromfile(path))
    for source, place in sources.items():
        label = f"{place} outliers"
        jobs.append((label, partial(check_coco, *source, quick=quick, name=label)))
    total = None if sources else sum(len(found.listing.pairs) for found in sets)
    # The bar hands the function that moves it on to the job.
    calls = [(label, lambda advance, job=job: job(advance=advance)) for label, job in jobs]
    return with_progress(calls, total)


def with_progress(
    jobs: Sequence[tuple[str, Callable[[Callable[[], None]], Report]]], total: int | None
) -> list[Report]:
    """Run named jobs one after the other under one bar; each calls `advance` per pair.

    `total` is the number of pairs, None where it is not known before.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    reports = []
    # On standard error, so that the table can be piped.
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        for name, job in jobs:
            progress.update(task, description=name)
            reports.append(job(lambda: progress.advance(task)))
    return reports


def print_reports(reports: Sequence[Report], *, title: str) -> None:
    """Print one table, then every problem and what to do about what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("data set", "state", "what there is", title=escape(title))
    for report in reports:
        colour = _COLOURS[report.state]
        found = "\n".join(report.found) or str(report.folder)
        table.add_row(escape(report.name), f"[{colour}]{report.state}[/]", escape(found))
    console.print(table)
    for report in reports:
        if report.state == "found":
            continue
        colour = _COLOURS[report.state]
        folder = escape(str(report.folder))
        console.print(f"[{colour}]{escape(report.name)}: {report.state}[/] ({folder})")
        for problem in report.problems:
            console.print(f"  - {escape(problem)}", soft_wrap=True, highlight=False)
        if report.remedy:
            console.print(f"  what to do: {escape(report.remedy)}", soft_wrap=True, highlight=False)
