"""Print a script that completes commands, options, choices and names of shipped configs."""

from __future__ import annotations

import argparse
import re
from functools import partial

from ood_seg.config_files import shipped_configs

SHELLS = ("bash", "zsh", "fish")
USAGE = "SHELL"
PAGE = "docs/commands.md"
EXAMPLES = (
    "ood-seg completion bash > ~/.local/share/bash-completion/completions/ood-seg",
    "ood-seg completion zsh > ~/.zfunc/_ood-seg",
    "ood-seg completion fish > ~/.config/fish/completions/ood-seg.fish",
)
_PATH = re.compile(r"\b(DIR|FILE|PATH|IN|OUT|ROOT|SOURCE|SCORES|GROUND_TRUTH|EVALUATION)\b")
# Functions named by `_model_arguments.COMPLETE_CONFIG`.
_PREAMBLES: dict[str, str] = {
    "bash": """
_ood_seg_configs() {{
  compgen -W "{names}" -- "$1"
  compgen -f -- "$1"
}}
""",
    "zsh": """
_ood_seg_configs() {{
  local -a names
  names=({names})
  _alternative 'configs:shipped config:compadd -a names' 'files:file:_files'
}}
""",
    "fish": """
function __ood_seg_configs
  printf '%s\\n' {names}
  __fish_complete_path (commandline -ct)
end
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg completion`."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    preamble = _PREAMBLES[args.shell].format(names=" ".join(_typed_names()))
    print(shtab.complete(_whole_parser(), args.shell, preamble=preamble))
    return 0


def _typed_names() -> list[str]:
    """The file names of the shipped configs, which are enough; paths where these are ambiguous."""
    paths = list(shipped_configs())
    files = [path.rpartition("/")[2] for path in paths]
    return sorted(
        file if files.count(file) == 1 else path for file, path in zip(files, paths, strict=True)
    )


def _whole_parser() -> argparse.ArgumentParser:
    from ood_seg.commands import PROGRAM, command_help, command_names
    from ood_seg.commands._parser import command_module, command_parser

    parser = argparse.ArgumentParser(prog=PROGRAM)
    parser.add_argument("--version", action="store_true", help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in command_names():
        make = partial(commands.add_parser, name, help=command_help(name))
        _complete_paths(command_parser(name, command_module(name), make))
    return parser


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Let arguments whose name in the help is that of a path be completed as one."""
    import shtab

    for action in parser._actions:
        name = action.metavar if isinstance(action.metavar, str) else ""
        if hasattr(action, "complete") or not _PATH.search(name):
            continue
        folder = name == "DIR"
        action.complete = shtab.DIRECTORY if folder else shtab.FILE  # type: ignore[attr-defined]
