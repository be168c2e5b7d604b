"""List the shipped configs, or copy one to start your own from."""

from __future__ import annotations

import argparse

from ood_seg.commands._model_arguments import COMPLETE_CONFIG
from ood_seg.commands._summary import Outcome
from ood_seg.config_files import config_root, copy_config, resolve_config, shipped_configs, summary

USAGE = ""
PAGE = "docs/commands.md"
EXAMPLES = (
    "ood-seg configs",
    "ood-seg configs --path energy_fcn-erfnet_cityscapes",
    "ood-seg configs --copy energy_fcn-erfnet_cityscapes my_config.py",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg configs`."""
    copied = parser.add_argument(
        "--copy", nargs=2, metavar=("NAME", "DEST"), help="copy a config to DEST"
    )
    shown = parser.add_argument("--path", metavar="NAME", help="print where a config lies")
    for action in (copied, shown):
        action.complete = COMPLETE_CONFIG  # type: ignore[attr-defined]


def run(args: argparse.Namespace) -> Outcome:
    """Print the list of configs, or do what `--copy` or `--path` ask."""
    if args.copy:
        copied = copy_config(*args.copy)
        print(f"copied to {copied}")
        return Outcome(outputs=[copied])
    if args.path:
        print(resolve_config(args.path))
        return Outcome()
    _print_list()
    return Outcome(numbers={"configs": len(shipped_configs())})


def _print_list() -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(f"configs in {escape(str(config_root()))}", soft_wrap=True)
    for name, path in shipped_configs().items():
        # A name that is broken over two lines cannot be copied.
        console.print(f"[bold]{escape(name)}[/]", soft_wrap=True)
        console.print(f"    {escape(summary(path))}", soft_wrap=True)
