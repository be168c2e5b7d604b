"""List the shipped configs, or copy one to start your own from."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands._model_arguments import COMPLETE_CONFIG
from ood_seg.commands._summary import Outcome
from ood_seg.config_files import config_root, copy_config, resolve_config, shipped_configs, summary

USAGE = "[WORD...]"
PAGE = "docs/commands.md"
EXAMPLES = (
    "ood-seg configs",
    "ood-seg configs energy erfnet",
    "ood-seg configs --copy energy_fcn-erfnet_cityscapes my_config.py",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg configs`."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="list only the configs with all of these in their names, such as `energy erfnet`",
    )
    copied = parser.add_argument(
        "--copy", nargs=2, metavar=("NAME", "DEST"), help="copy a config to DEST"
    )
    shown = parser.add_argument("--path", metavar="NAME", help="print where a config lies")
    for action in (copied, shown):
        action.complete = COMPLETE_CONFIG  # type: ignore[attr-defined]


def run(args: argparse.Namespace) -> Outcome:
    """Print the configs with the words in their names, or do what `--copy` or `--path` ask."""
    if args.copy:
        copied = copy_config(*args.copy)
        print(f"copied to {copied}")
        return Outcome(outputs=[copied])
    if args.path:
        print(resolve_config(args.path))
        return Outcome()
    words = [word.lower() for word in args.words]
    found = {
        name: path
        for name, path in shipped_configs().items()
        if all(word in name.lower() for word in words)
    }
    if not found:
        raise ValueError(
            f"no shipped config has {' and '.join(map(repr, args.words))} in its name; "
            "`ood-seg configs` lists all"
        )
    _print_list(found)
    return Outcome(numbers={"configs": len(found)})


def _print_list(configs: dict[str, Path]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(f"configs in {escape(str(config_root()))}", soft_wrap=True)
    for name, path in configs.items():
        # A name that is broken over two lines cannot be copied.
        console.print(f"[bold]{escape(name)}[/]", soft_wrap=True)
        console.print(f"    {escape(summary(path))}", soft_wrap=True)
