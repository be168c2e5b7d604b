"""Convert a published checkpoint (NVIDIA, PEBAL, RPL, DenseHybrid, ERFNet, CGNet) for use here."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ood_seg.commands._model_arguments import add_named
from ood_seg.commands._summary import Outcome
from ood_seg.progress import stages

if TYPE_CHECKING:
    from ood_seg.models.layouts import Conversion


USAGE = "IN OUT"
PAGE = "docs/checkpoints.md"
EXAMPLES = (
    "ood-seg convert-checkpoint best_ad_ckpt.pth pebal.pth",
    "ood-seg convert-checkpoint published.pth --file mine.pth --config my_config.py",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg convert-checkpoint`."""
    parser.add_argument("source", metavar="IN", help="checkpoint as published")
    parser.add_argument("target", metavar="OUT", nargs="?", help="file to write")
    parser.add_argument("--file", metavar="OUT", help="the same by name")
    add_named(
        parser,
        "config",
        metavar="CONFIG",
        help="config that the converted weights must fit; by default the shipped one of the "
        "recognised layout. A config is Python code and is executed: give only those you trust",
    )
    parser.add_argument(
        "--overwrite", "--force", action="store_true", help="replace OUT if it exists"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Convert as the arguments say, and print what was converted."""
    target = args.target or args.file
    if target is None or (args.target and args.file):
        raise ValueError("give one file to write: OUT or --file OUT")
    from ood_seg.models.layouts.files import convert_file

    with stages() as report:
        conversion = convert_file(
            args.source, target, args.config, overwrite=args.overwrite, report=report
        )
    print_summary(conversion, args.config or conversion.config(), target)
    return Outcome(outputs=[target], numbers={"tensors": len(conversion.state_dict)})


def print_summary(conversion: Conversion, config: str, target: str) -> None:
    """Print what was recognised, kept and left out, and how to use the result."""
    from ood_seg.reports.tables import print_lines

    lines = {
        "recognised": f"{conversion.layout.title}, {conversion.num_channels} output channels",
        "converted": f"{len(conversion.state_dict)} tensors",
        "added": ", ".join(conversion.added),
        "left out": ", ".join(conversion.dropped) or "nothing",
        "written to": target,
        "use it": f"ood-seg test {config} {target}",
    }
    print_lines(*(f"{name + ':':<12}{text}" for name, text in lines.items() if text))
