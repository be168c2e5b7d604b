"""List the shipped configs, or copy one to start your own from."""

from __future__ import annotations

import argparse

from ood_seg.config_files import config_root, copy_config, resolve_config, shipped_configs, summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg configs`."""
    parser.add_argument("--copy", nargs=2, metavar=("NAME", "DEST"), help="copy a config to DEST")
    parser.add_argument("--path", metavar="NAME", help="print where a config lies")


def run(args: argparse.Namespace) -> int:
    """Print the list of configs, or do what `--copy` or `--path` ask."""
    if args.copy:
        print(f"copied to {copy_config(*args.copy)}")
        return 0
    if args.path:
        print(resolve_config(args.path))
        return 0
    _print_list()
    return 0


def _print_list() -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    console.print(f"configs in {escape(str(config_root()))}", soft_wrap=True)
    for name, path in shipped_configs().items():
        # A name that is broken over two lines cannot be copied.
        console.print(f"[bold]{escape(name)}[/]", soft_wrap=True)
        console.print(f"    {escape(summary(path))}", soft_wrap=True)
