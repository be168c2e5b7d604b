"""Datasets in a terminal: what is published, what is planned, and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from ood_seg.progress import AddTask

if TYPE_CHECKING:
    from ood_seg.datasets.setup.checks import Report
    from ood_seg.datasets.setup.pair_checks import Track
    from ood_seg.datasets.setup.preparing import Plan
    from ood_seg.datasets.setup.published_dataset import PublishedDataset

_T = TypeVar("_T")

_COLOURS = {"found": "green", "missing": "yellow", "problems": "red"}


def print_lines(*lines: str) -> None:
    """Print lines unwrapped, so that a whole line can be searched for and copied."""
    from rich.console import Console

    for line in lines:
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def tracker(add: AddTask, description: str) -> Track:
    """Return a function that passes items on and shows them as a task of `progress_tasks`."""

    def track(items: Iterable[_T], total: int | None = None) -> Iterator[_T]:
        task = add(description, total, "files")
        for item in items:
            yield item
            task.advance()

    return track


def print_reports(reports: Sequence[Report], *, title: str) -> None:
    """Print one table, then every problem and the remedy for what is missing."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table("dataset", "state", "content", title=escape(title))
    for report in reports:
        content = "\n".join(report.found) or str(report.folder)
        state = f"[{_COLOURS[report.state]}]{report.state}[/]"
        table.add_row(escape(report.name), state, escape(content))
    console.print(table)
    for report in reports:
        if report.state == "found":
            continue
        name, folder = escape(report.name), escape(str(report.folder))
        console.print(f"[{_COLOURS[report.state]}]{name}: {report.state}[/] ({folder})")
        print_lines(*(f"  - {problem}" for problem in report.problems))
        if report.remedy:
            print_lines(f"  what to do: {report.remedy}")


def print_plan(plan: Plan, dataset: PublishedDataset, *, accept_part: bool) -> None:
    """Print what a plan writes, and what prevents it."""
    done = f", {plan.present} exist" if plan.present else ""
    print_lines(
        f"{dataset.name}: {len(plan.new_files)} files to write (up to {plan.size / 1e9:.2f} GB)"
        f"{done}; folder {plan.folder}"
    )
    wrong = plan.obstacles(accept_part=accept_part)
    print_lines(*(f"  problem: {text}" for text in wrong))
    print_lines(*(f"  accepted: {text}" for text in plan.gaps if accept_part))
    print_lines(*(f"  note: {text}" for text in plan.notes))
    if wrong:
        hint = "" if accept_part or plan.problems else " (--partial accepts a part of the dataset)"
        print_lines(f"nothing was written{hint}")
        print_lines(*(f"  expected: {name}: {text}" for name, text in dataset.archives.items()))
        print_lines(f"  expected: from {dataset.source}")
    elif not plan.new_files:
        print_lines("nothing to do: every file is in its place")


def print_catalog(datasets: Sequence[PublishedDataset]) -> None:
    """Print the published datasets: archives, sizes, addresses and licences.

    No table, in whose narrow columns an address would be broken and could not be opened.
    """
    for dataset in datasets:
        archives = [f"{name}: {text}" for name, text in dataset.archives.items()]
        print_lines(
            dataset.name,
            *(f"    {text}" for text in archives or [f"unpacked as published: {dataset.layout}"]),
            f"    from {dataset.source}",
            f"    licence: {dataset.licence}",
        )
    print_lines("Nothing is downloaded. `ood-seg check-data` lists what is present.")
