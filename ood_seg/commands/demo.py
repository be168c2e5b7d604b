"""Draw street scenes, train, fine-tune with outliers, and show what it changes; no downloads."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands._summary import Outcome

USAGE = ""
PAGE = "docs/notebooks/index.md"
EXAMPLES = (
    "ood-seg demo --fast",
    "ood-seg demo --out demo_output --seed 1",
)


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
        "--fast", action="store_true", help="a short version; its numbers mean little"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Run all steps that are not finished, print the table and write the figure."""
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.demo.plan import FAST_PLAN, FULL_PLAN
    from ood_seg.demo.running import run_demo

    run_demo(args.out, FAST_PLAN if args.fast else FULL_PLAN, args.seed)
    return Outcome(outputs=[args.out])
