"""CPU time and values of ood_seg beside other installed libraries, as a Markdown table.

    python benchmarks/peers.py [--only scores detectors metrics losses work] [--repeats 3] [--small]
        [--update docs/performance.md]

Peers are pytorch-ood, torchmetrics and scikit-learn; one that is not installed, or that cannot be
imported, is named and left out. Both sides get the same tensors in one process with one thread,
called in turns; the smallest CPU time of each counts, and the ratio is ours to the peer's.
The difference is the largest one between the values of both, relative to the largest value of the
peer, after the change of sign, scale or offset that the last column names. The section `work` has
no peer: its references are torch's cross entropy and the same work left out.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from peer_case import PEERS, Case
from peer_scores import detector_cases, score_cases
from peer_work import loss_cases, metric_cases, work_cases

from ood_seg.io.files import write_text
from ood_seg.reports.tables import Table

MARKS = ("<!-- benchmarks/peers.py -->", "<!-- end of benchmarks/peers.py -->")
SECTIONS = {
    "scores": score_cases,
    "detectors": detector_cases,
    "metrics": metric_cases,
    "losses": loss_cases,
    "work": work_cases,
}


def main() -> None:
    """Print the table, each row as soon as it is measured."""
    args = parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # What the peers report on the way, such as clipped dimensions.
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    found = available_peers()
    rows = []
    print("\n".join(table_of([]).to_markdown().splitlines()))
    for section in args.only:
        for case in SECTIONS[section](found, args.small):
            rows.append(row(case, args.repeats))
            print(table_of(rows[-1:]).to_markdown().splitlines()[-1], flush=True)
    if args.update:
        replace_table(args.update, table_of(rows).to_markdown())


def table_of(rows: list[tuple[str, ...]]) -> Table:
    """The table of some rows."""
    header = ("what", "peer", "CPU ms", "peer's CPU ms", "ratio", "difference", "remark")
    return Table("", header, rows, text_columns=("peer", "remark"))


def replace_table(path: Path, table: str) -> None:
    """Put the table between the two marks of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise SystemExit(f"{path}: expected {MARKS[0]} and {MARKS[1]} around the table")
    write_text(path, f"{before}{begin}\n\n{table}\n{end}{after}")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--update", type=Path, metavar="FILE", help=f"Markdown file with {MARKS[0]} to write into"
    )
    parser.add_argument("--small", action="store_true", help="small tensors, to try it out")
    return parser.parse_args()


def available_peers() -> set[str]:
    """Peers that can be imported; the others are named on standard error, with the reason."""
    found = set()
    for module, name in PEERS.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            # A package may be broken in any way, by a library that it needs for instance.
            print(f"{name} is left out: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            found.add(module)
    return found


def row(case: Case, repeats: int) -> tuple[str, ...]:
    """Measure a case; a side that fails is named in its row."""
    try:
        ours, theirs = case.ours(), case.theirs()
        seconds = [float("inf")] * 2
        for _ in range(repeats):
            for side, call in enumerate((case.ours, case.theirs)):
                start = time.process_time()
                call()
                seconds[side] = min(seconds[side], time.process_time() - start)
    except Exception as error:
        return case.name, case.peer, "-", "-", "-", "-", f"failed: {type(error).__name__}: {error}"
    times = (f"{1000 * s:.{1 if s < 0.1 else 0}f}" for s in seconds)
    difference = "-"
    if case.agree is not None:
        largest = largest_difference(ours, case.agree(theirs))
        difference = f"{largest:.0e}" if largest else "0"
    return case.name, case.peer, *times, f"{seconds[0] / seconds[1]:.2g}", difference, case.remark


def largest_difference(ours: Any, theirs: Any) -> float:
    """Relative to the peer's largest value."""
    ours, theirs = (torch.as_tensor(part).detach().double() for part in (ours, theirs))
    return float((ours - theirs).abs().max() / theirs.abs().max())


if __name__ == "__main__":
    main()
