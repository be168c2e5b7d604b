"""The parser of a command: a short usage, groups of options, examples and the page to read."""

from __future__ import annotations

import argparse
import importlib
import sys
import textwrap
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

PROGRAM = "ood-seg"


class HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, and keeps lines that begin with two spaces, which are commands."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for line in text.splitlines():
            kept = line.startswith("  ") or not line
            lines += [line] if kept else textwrap.wrap(line, width)
        return "\n".join(indent + line for line in lines)


def command_module(name: str) -> ModuleType:
    """Return the module of a command by its name as typed (`check-data`)."""
    return importlib.import_module(f"ood_seg.commands.{name.replace('-', '_')}")


def command_parser(
    name: str,
    module: ModuleType,
    make: Callable[..., argparse.ArgumentParser] = argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Return the parser of a command.

    Its options of its own come first, then its groups, then what all commands have.

    Args:
        name: of the command, as typed.
        module: with the docstring, `USAGE` (the positional arguments in one line), `EXAMPLES`
            (whole command lines), `PAGE` (of the documentation) and `add_arguments`.
        make: called with the arguments of `ArgumentParser`.
    """
    examples = "\n".join(f"  {line}" for line in module.EXAMPLES)
    parser = make(
        prog=f"{PROGRAM} {name}",
        usage=" ".join(["%(prog)s", *module.USAGE.replace("%", "%%").split(), "[options]"]),
        description=module.__doc__,
        epilog=f"examples:\n{examples}\n\ndocumentation: {module.PAGE}",
        formatter_class=HelpFormatter,
        add_help=False,
    )
    module.add_arguments(parser)
    general = parser.add_argument_group("all commands")
    general.add_argument("-h", "--help", action="help", help="show this help and exit")
    general.add_argument("--debug", action="store_true", help="show the traceback of an error")
    general.add_argument(
        "--json-summary",
        metavar="FILE",
        help="also write what was done as JSON: status, outputs, numbers, seconds; `-`: to "
        "standard output, and all else to standard error",
    )
    return parser


def add_renamed(
    parser: argparse._ActionsContainer, former: str, option: str, **arguments: Any
) -> None:
    """Add the former spelling of an option: it works, with a line that names the new one.

    Args:
        parser: parser or group.
        former: such as `--out`.
        option: that replaces it, such as `--file`.
        arguments: `type` and the like of the option.
    """
    dest = option.lstrip("-").replace("-", "_")
    parser.add_argument(
        former,
        action=_Renamed,
        new_name=option,
        dest=dest,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
        **arguments,
    )


class _Renamed(argparse.Action):
    def __init__(self, *args: Any, new_name: str, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self.new_name = new_name

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(f"{parser.prog}: {option_string} is now {self.new_name}", file=sys.stderr)
        setattr(namespace, self.dest, values)
