"""The model of a command, by position or by name, with the same meaning in every command.

`ood-seg test CONFIG CHECKPOINT` is `ood-seg test --config CONFIG --checkpoint CHECKPOINT`; what is
named is left out of the positions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_seg.config_files import verified_config

CONFIG_HELP = (
    "path of a config file, or the name of a shipped one (`ood-seg configs` lists them). "
    "A config is Python code and is executed: run only those you trust"
)
CHECKPOINT_HELP = "file of the weights (default: the config's `load_from`)"
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt")
_MANY = "checkpoints"  # the role that takes all that is left
# Values that are recognised in any position.
_ROLES_BY_SUFFIX = {
    ".onnx": ("onnx", "file"),
    **dict.fromkeys(CHECKPOINT_SUFFIXES, ("checkpoint", _MANY)),
}
# Texts for shell completion, see `ood-seg completion`.
COMPLETE_CONFIG = {
    "bash": "_ood_seg_configs",
    "zsh": "_ood_seg_configs",
    "fish": "(__ood_seg_configs)",
}


def add_model_positionals(
    parser: argparse.ArgumentParser, *roles: str, metavar: str, help: str
) -> None:
    """Add positional arguments that may be given by name instead.

    Args:
        parser: of the command.
        roles: destinations in the order of the positions; `checkpoints` takes several, `onnx` only
            a file of that kind.
        metavar: of all of them.
        help: of all of them.
    """
    action = parser.add_argument(
        "positions", nargs="*", action=_Positions, roles=roles, metavar=metavar, help=help
    )
    action.complete = COMPLETE_CONFIG  # type: ignore[attr-defined]
    parser.set_defaults(**dict.fromkeys(roles))


def add_named(parser: argparse._ActionsContainer, role: str, **arguments: Any) -> None:
    """Add the option `--ROLE` that gives a positional argument by name."""
    action = parser.add_argument(f"--{role}", **arguments)
    if role == "config":
        action.complete = COMPLETE_CONFIG  # type: ignore[attr-defined]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the config."""
    add_model_positionals(parser, "config", metavar="CONFIG", help=CONFIG_HELP)
    add_named(parser, "config", metavar="CONFIG", help="the same by name")


def add_model(parser: argparse.ArgumentParser, *, what: str = "file of the weights") -> None:
    """Add config and checkpoint of a model.

    Args:
        parser: of the command.
        what: description of the checkpoint in the help.
    """
    help = f"{CONFIG_HELP}; and {what} (default: the config's `load_from`)"
    add_model_positionals(parser, "config", "checkpoint", metavar="CONFIG [CHECKPOINT]", help=help)
    add_named(parser, "config", metavar="CONFIG", help="the same by name")
    add_named(parser, "checkpoint", metavar="FILE", help="the same by name")


def require_config(args: argparse.Namespace) -> None:
    """Find the config of a checkpoint that is given alone; check its files before slow imports.

    Raises:
        FileNotFoundError: the config or one of its bases does not exist.
        ValueError: there is neither a config nor a checkpoint of `ood-seg train`; or the config is
            not Python code.
    """
    if args.config is None:
        checkpoint = getattr(args, "checkpoint", None)
        if checkpoint is None:
            raise ValueError(
                "no config is given; give its path, or the name of a shipped one "
                "(`ood-seg configs` lists them)"
            )
        args.config = str(config_beside(checkpoint))
    verified_config(args.config)


def config_beside(checkpoint: str | Path) -> Path:
    """Return the config that `ood-seg train` has written beside its checkpoints.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: its folder holds no config, or several.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {checkpoint} does not exist")
    found = sorted(path.parent.glob("*.py"))
    if len(found) != 1:
        held = ", ".join(file.name for file in found) or "none"
        raise ValueError(
            f"checkpoint {checkpoint} needs its config (beside it: {held}); give --config CONFIG"
        )
    return found[0]


class _Positions(argparse.Action):
    """Positional arguments, each of which goes to the first role that is not given by name.

    `ood-seg` parses options first, so the order on the command line does not matter.
    """

    def __init__(self, *args: Any, roles: Sequence[str], **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self.roles = roles

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        free = [role for role in self.roles if getattr(namespace, role, None) is None]
        for text in values or ():
            role = _role_of(text, free)
            if role is None:
                parser.error(f"there is no place for {text!r}; see --help")
            elif role == _MANY:
                setattr(namespace, role, [*(getattr(namespace, role, None) or ()), text])
            else:
                free.remove(role)
                # `-` stands for the checkpoint that the config names.
                setattr(namespace, role, None if text == "-" else text)


def _role_of(text: str, free: Sequence[str]) -> str | None:
    by_suffix = [role for role in _ROLES_BY_SUFFIX.get(Path(text).suffix, ()) if role in free]
    by_position = [role for role in free if role != "onnx"]
    return next(iter([*by_suffix, *by_position]), None)
