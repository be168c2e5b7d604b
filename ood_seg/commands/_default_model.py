"""The model of `infer` and `serve`: the one given, else `$OOD_SEG_MODEL`, else the last used.

The last used one is kept in `$XDG_STATE_HOME/ood_seg/model.json` (`~/.local/state` by default).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from ood_seg.commands._model_arguments import CHECKPOINT_SUFFIXES, require_config
from ood_seg.io.files import write_text

VARIABLE = "OOD_SEG_MODEL"
_PARTS = ("config", "checkpoint", "onnx", "calibration")


def settle_model(args: argparse.Namespace) -> None:
    """Complete `args.config`, `checkpoint`, `onnx` and `calibration`; print a model not given.

    Raises:
        FileNotFoundError: the last used model is gone.
        ValueError: no model is known, or two are given.
    """
    if args.onnx and (args.config or args.checkpoint):
        other = "--config" if args.config else "--checkpoint"
        raise ValueError(f"give one model: --onnx {args.onnx} holds its weights, without {other}")
    if args.onnx is None and args.config is None and args.checkpoint is None:
        origin = _from_variable(args) or _from_last_run(args)
        if origin is None:
            raise ValueError(
                "no model is given, and none was used before; give --onnx FILE, --config CONFIG "
                "(`ood-seg configs` lists the shipped ones) or --checkpoint FILE of `ood-seg "
                f"train`, or set {VARIABLE} to one of these"
            )
        print(f"model: {_name(args)} ({origin})", file=sys.stderr)
    if args.onnx is None:
        require_config(args)


def remember_model(args: argparse.Namespace) -> None:
    """Keep the model of `args` as the last used one; without a place for it, do nothing."""
    path = _state_file()
    if path is None:
        return
    content = {part: _lasting(getattr(args, part)) for part in _PARTS}
    with contextlib.suppress(OSError):  # a home that is read-only, as in a container
        write_text(path, json.dumps(content, indent=2) + "\n")


def _from_variable(args: argparse.Namespace) -> str | None:
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    suffix = Path(given).suffix
    part = "checkpoint" if suffix in CHECKPOINT_SUFFIXES else "config"
    setattr(args, "onnx" if suffix == ".onnx" else part, given)
    return VARIABLE


def _from_last_run(args: argparse.Namespace) -> str | None:
    path = _state_file()
    content = None
    with contextlib.suppress(OSError, ValueError, TypeError):
        content = json.loads(path.read_text(encoding="utf-8")) if path else None
    known = content if isinstance(content, dict) else {}
    parts = {part: known[part] for part in _PARTS if isinstance(known.get(part), str)}
    if not parts.keys() & {"onnx", "config"}:
        return None
    for part, value in parts.items():
        if part == "calibration" and args.calibration:
            continue
        if os.path.isabs(value) and not os.path.exists(value):
            raise FileNotFoundError(
                f"the last used model is gone: {part} {value} does not exist; give --onnx, "
                "--config or --checkpoint"
            )
        setattr(args, part, value)
    return "the last used"


def _lasting(value: str | None) -> str | None:
    """A path that holds in every folder; the name of a shipped config as it is."""
    if value is None or not os.path.exists(value):
        return value
    return os.path.abspath(value)


def _name(args: argparse.Namespace) -> str:
    parts = (args.onnx or args.config, args.checkpoint)
    return ", ".join(part for part in parts if part)


def _state_file() -> Path | None:
    """None where there is neither the variable nor a home."""
    given = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):  # others are to be ignored, as its specification states
        return Path(given) / "ood_seg" / "model.json"
    try:
        return Path("~/.local/state/ood_seg/model.json").expanduser()
    except RuntimeError:
        return None
