"""The console script `ood-seg`: one file of this folder per subcommand, imported when used.

A command module has a one-line docstring (its help), `USAGE`, `EXAMPLES` and `PAGE` (see
`_parser.command_parser`), `add_arguments(parser)` and `run(args)`, which returns an exit
code or a `_summary.Outcome`. Files that start with an underscore are shared code.
"""

from __future__ import annotations

import argparse
import ast
import pkgutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

from ood_seg import __version__
from ood_seg.commands import _errors
from ood_seg.commands._parser import PROGRAM, command_module, command_parser
from ood_seg.commands._summary import run_with_summary
from ood_seg.spelling import did_you_mean
from ood_seg.startup import announce_slow_imports


def command_names() -> list[str]:
    """Return the names of all subcommands, as typed (`check-data`)."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def command_help(name: str) -> str:
    """Return the first sentence of a command's help."""
    # Read, not imported: `ood-seg --help` must be fast and work without mmsegmentation.
    path = Path(__file__).with_name(f"{name.replace('-', '_')}.py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("%", "%%")


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Pixel-wise anomaly detection on mmsegmentation.",
        epilog=f"`{PROGRAM} COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in command_names():
        commands.add_parser(name, help=command_help(name), add_help=False)
    return parser


def _parse(name: str, arguments: list[str]) -> tuple[argparse.Namespace, ModuleType]:
    module = command_module(name)
    parser = command_parser(name, module)
    # Options may stand before, between and after positional arguments; `--` ends the options.
    options_end = "--" in arguments
    parse = parser.parse_known_args if options_end else parser.parse_known_intermixed_args
    parsed, unknown = parse(arguments)
    if unknown:
        actions = parser._option_string_actions.items()
        known = [one for one, action in actions if action.help != argparse.SUPPRESS]
        meant = [did_you_mean(one.partition("=")[0], known) for one in unknown if one[:2] == "--"]
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(meant)}")
    return parsed, module


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit code (2: wrong input, reported in one message)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = [argument for argument in arguments[:1] if argument == "--debug"]
    name = next((argument for argument in arguments[len(options) :]), "")
    if not name or name.startswith("-"):
        overview = _overview()
        if not name:
            overview.print_help(sys.stderr)
            return 2
        overview.parse_args([name])
        return 2
    if name not in command_names():
        known = command_names()
        print(
            f"{PROGRAM}: no command {name!r}{did_you_mean(name, known)}; there are: "
            f"{', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    rest = arguments[len(options) + 1 :]
    report = partial(_errors.report, program=f"{PROGRAM} {name}", debug="--debug" in arguments)
    try:
        args, module = _parse(name, rest + options)
        announce_slow_imports()
        run = partial(module.run, args)
        return run_with_summary(run, report, command=name, place=args.json_summary)
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
