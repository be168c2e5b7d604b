"""Put the archives that a data set's owner publishes into the layout that configs read."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ood_seg.datasets.setup.checks import Report
    from ood_seg.datasets.setup.known_sets import KnownSet
    from ood_seg.datasets.setup.preparing import Plan

_GIGABYTE = 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg prepare-data`."""
    parser.add_argument("name", nargs="?", help="data set, see --list")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="archives (zip, tar, tar.gz) or unpacked folders, in any order; without any, the "
        "folder of the set is completed",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the set (default: its place below $OOD_SEG_DATA, else below ./data)",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the sets: archives, sizes, where they come from"
    )
    parser.add_argument("--dry-run", action="store_true", help="look and tell, write nothing")
    parser.add_argument(
        "--partial", action="store_true", help="accept a part of the set (missing or spare files)"
    )
    parser.add_argument(
        "--pebal",
        action="store_true",
        help="coco: also list the pictures that PEBAL pastes from (no Cityscapes-like object in "
        "them, both sides at least 480 pixels)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="read no pixels in the check of the result"
    )


def run(args: argparse.Namespace) -> int:
    """Prepare a set; return 1 where something is wrong with the files, which is then printed."""
    from ood_seg.datasets.setup.archives import open_source
    from ood_seg.datasets.setup.preparing import make_plan

    if args.list:
        _print_list()
        return 0
    known_set = _known_set(args.name)
    if args.pebal and known_set.name != "coco":
        raise ValueError(f"--pebal is an option of the set coco, got {known_set.name}")
    folder = _folder(args.out, known_set)
    if not args.sources and not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist and no archive was given. {known_set.name}: "
            f"{known_set.remedy}"
        )
    with ExitStack() as stack:
        sources = []
        for path in args.sources or [folder]:
            sources.append(open_source(path))
            stack.callback(sources[-1].close)
        plan = make_plan(known_set, sources, folder, pebal=args.pebal)
        if not _is_accepted(plan, known_set, accept_part=args.partial):
            return 1
        if args.dry_run:
            return 0
        failures = _write(plan)
    report = _check(known_set, folder, quick=args.quick, accept_part=args.partial)
    report.problems = failures + report.problems
    from ood_seg.commands.check_data import print_reports

    print_reports([report], title=f"{known_set.name} in {folder}")
    return int(report.state != "found")


def _known_set(name: str | None) -> KnownSet:
    from ood_seg.datasets.setup.known_sets import COCO, KNOWN_SETS

    by_name = {known_set.name: known_set for known_set in (*KNOWN_SETS, COCO)}
    if name not in by_name:
        names = ", ".join(name for name in by_name if by_name[name].files)
        raise ValueError(f"give one of {names}; got {name!r} (--list says more)")
    return by_name[name]


def _folder(out: str | None, known_set: KnownSet) -> Path:
    if out:
        return Path(out).expanduser()
    root = Path(os.environ.get("OOD_SEG_DATA") or "data").expanduser()
    return root / known_set.folders[0]


def _is_accepted(plan: Plan, known_set: KnownSet, *, accept_part: bool) -> bool:
    """Print what the plan says; False where something must be repaired before."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    done = f", {plan.present} are there" if plan.present else ""
    size = f"{plan.size / _GIGABYTE:.2f} GB"
    console.print(
        f"{known_set.name}: {len(plan.actions)} files to write (up to {size}){done}; "
        f"folder {escape(str(plan.folder))}",
        soft_wrap=True,
        highlight=False,
    )
    wrong = plan.problems + ([] if accept_part else plan.gaps)
    accepted = plan.gaps if accept_part else []
    for colour, kind, texts in (
        ("red", "problem", wrong),
        ("yellow", "accepted", accepted),
        ("dim", "note", plan.notes),
    ):
        for text in texts:
            line = f"  [{colour}]{kind}[/]: {escape(text)}"
            console.print(line, soft_wrap=True, highlight=False)
    if wrong:
        hint = "" if accept_part or plan.problems else " (--partial accepts a part of the set)"
        console.print(f"nothing was written{hint}", highlight=False)
        for line in _expected(known_set):
            console.print(f"  expected: {escape(line)}", soft_wrap=True, highlight=False)
    elif not plan.actions:
        console.print("nothing to do: every file is in its place", highlight=False)
    return not wrong


def _write(plan: Plan) -> list[str]:
    """Write the files under a progress bar; return the failures."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from ood_seg.datasets.setup.preparing import run_plan

    columns = (TextColumn("writing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=plan.size)
        notes, failures = run_plan(plan, advance=lambda size: progress.advance(task, size))
    for note in notes:
        Console().print(note, soft_wrap=True, highlight=False, markup=False)
    return failures


def _check(known_set: KnownSet, folder: Path, *, quick: bool, accept_part: bool) -> Report:
    """Check the result as `ood-seg check-data` does."""
    from ood_seg.commands.check_data import with_progress
    from ood_seg.datasets.setup.known_sets import COCO, COCO_ANNOTATIONS, COCO_IMAGES
    from ood_seg.datasets.setup.set_checks import check_coco, check_set, set_in

    if known_set is COCO:
        annotations, images = folder / COCO_ANNOTATIONS, folder / COCO_IMAGES
        job, total = partial(check_coco, annotations, images, quick=quick), None
    else:
        on_disk = set_in(known_set, folder, partial=accept_part)
        job, total = partial(check_set, on_disk, quick=quick), on_disk.num_pairs
    # The bar hands the function that moves it on to the job.
    jobs = [(known_set.name, lambda advance: job(advance=advance))]
    return with_progress(jobs, total)[0]


def _expected(known_set: KnownSet) -> list[str]:
    """One line for each archive, and one on where they come from."""
    lines = [f"{a.name}: {a.holds}, {a.size}" for a in known_set.archives]
    return [*lines, f"from {known_set.source}"]


def _print_list() -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from ood_seg.datasets.setup.known_sets import COCO, KNOWN_SETS

    console = Console()
    # Addresses and names that are cut short cannot be used.
    headers = ("data set", "archives", "where from, licence")
    columns = [Column(header, overflow="fold") for header in headers]
    table = Table(*columns, title="data sets", show_lines=True)
    for known_set in (*KNOWN_SETS, COCO):
        archives = [f"{a.name}: {a.holds}, {a.size}" for a in known_set.archives]
        what = "\n".join(archives) or f"unpacked as published: {known_set.layout}"
        where = f"{known_set.source}\n{known_set.licence}"
        table.add_row(known_set.name, escape(what), escape(where))
    console.print(table)
    console.print("Nothing is downloaded. `ood-seg check-data` says what is there.")
