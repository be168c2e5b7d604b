"""Configs by path or shipped name: find, load, describe and copy them."""

from __future__ import annotations

import ast
import copy
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg import config_checks
from ood_seg.config_reading import import_modules, named_modules, read_config, verify_files
from ood_seg.io.files import write_text
from ood_seg.spelling import close_matches

if TYPE_CHECKING:
    from mmengine.config import Config

_PACKAGE = Path(__file__).resolve().parent


def config_root() -> Path:
    """Return the folder of the shipped configs: in the wheel, else of the clone.

    Raises:
        FileNotFoundError: the installation holds no configs.
    """
    for folder in (_PACKAGE / "_configs", _PACKAGE.parent / "configs"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no shipped configs beside {_PACKAGE}; reinstall the package from its wheel or clone"
    )


def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by relative name without `.py`; bases are left out."""
    root = config_root()
    paths = (path.relative_to(root) for path in sorted(root.rglob("*.py")))
    return {
        path.with_suffix("").as_posix(): root / path
        for path in paths
        if not any(part.startswith(("_", ".")) for part in path.parts)
    }


def resolve_config(name: str | Path) -> Path:
    """Return the path of a config file.

    Args:
        name: path of a file; or a shipped config by its file name or its path below
            `configs/`, with or without `.py`.

    Raises:
        FileNotFoundError: there is no such config; close matches are listed.
        ValueError: several shipped configs have that name, or it is a folder.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ValueError(f"config {name} is a folder; give one of its files")
    wanted = Path(name).as_posix().removesuffix(".py").removeprefix("configs/")
    shipped = shipped_configs()
    if wanted in shipped:
        return shipped[wanted]
    matches = [key for key in shipped if key.rpartition("/")[2] == wanted]
    if len(matches) == 1:
        return shipped[matches[0]]
    if matches:
        raise ValueError(f"config {name!r} is ambiguous: {', '.join(matches)}")
    raise FileNotFoundError(_not_found(str(name), wanted, list(shipped)))


def calibration_beside(config: str | Path) -> Path | None:
    """Return the calibration of a config, `NAME.calibration.json` beside `NAME.py`, if there."""
    path = Path(config).with_suffix(".calibration.json")
    return path if path.is_file() else None


def _not_found(name: str, wanted: str, shipped: list[str]) -> str:
    stems = {key.rpartition("/")[2]: key for key in shipped}
    close = close_matches(wanted.rpartition("/")[2], stems)
    meant = f" (did you mean {' or '.join(stems[key] for key in close)}?)" if close else ""
    return (
        f"config {name!r} is neither a file nor a shipped config{meant}; "
        "`ood-seg configs` lists all"
    )


def load_config(
    config: str | Path | Config, options: Mapping[str, Any] | Iterable[str] | None = None
) -> Config:
    """Return a config with everything of this package registered.

    From now on, checkpoints are loaded as data only, see `startup.prepare`.

    Args:
        config: path of a file, name of a shipped config (see `resolve_config`), or a config,
            which is copied. A config file is Python code and is executed.
        options: values that replace those of the config, by dotted key; or texts `KEY=VALUE` as
            on the command line, see `parse_options`.

    Raises:
        FileNotFoundError: there is no such config.
        ValueError: the name is ambiguous, an option has no value or no effect, or the config is
            wrong, see `config_reading.read_config` and `config_checks.check_config`.
    """
    source = verified_config(config) if isinstance(config, (str, Path)) else config
    from ood_seg.startup import prepare

    prepare()
    cfg = read_config(source) if isinstance(source, Path) else copy.deepcopy(source)
    modules = named_modules(cfg)
    if options is not None:
        _merge(cfg, options if isinstance(options, Mapping) else parse_options(options))
    import_modules(cfg, modules)
    config_checks.check_config(cfg)
    return cfg


def _merge(cfg: Config, options: Mapping[str, Any]) -> None:
    """Put the values of options into a config.

    Raises:
        ValueError: an option does not fit the config, or would change nothing.
    """
    for key, value in options.items():
        config_checks.check_option(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            reason = error.args[0] if error.args else error
            raise ValueError(f"option {key} does not fit the config: {reason}") from error


def verified_config(name: str | Path) -> Path:
    """Return the path of a config file after the checks that need no import of OpenMMLab.

    Raises:
        FileNotFoundError: there is no such config, or a base of it does not exist.
        ValueError: see `resolve_config`; or a syntax error.
    """
    path = resolve_config(name)
    verify_files(path)
    return path


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Return the values of texts `KEY=VALUE`, converted as mmengine's `DictAction` does.

    Numbers, `True`, `False`, `None`, lists `[a,b]` or `a,b` and tuples `(a,b)` are recognised;
    anything else stays text.

    Raises:
        ValueError: a text has no `=`, or its brackets do not match.
    """
    import argparse

    from mmengine.config import DictAction

    parsed = argparse.Namespace(options=None)
    action = DictAction([], "options")
    for text in texts:
        check_option(text)
        try:
            action(argparse.ArgumentParser(), parsed, [text])
        except (AssertionError, RecursionError) as error:
            raise ValueError(f"expected KEY=VALUE with matching brackets, got {text!r}") from error
    return parsed.options or {}


def check_option(text: str) -> None:
    """Raise unless a text has the form `KEY=VALUE`; needs no mmengine.

    Raises:
        ValueError: it has no key, no `=`, or other numbers of opening and closing brackets.
    """
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ValueError(f"expected KEY=VALUE without spaces, got {text!r}")
    if any(value.count(left) != value.count(right) for left, right in ("()", "[]")):
        raise ValueError(f"expected KEY=VALUE with matching brackets, got {text!r}")


def summary(path: Path) -> str:
    """Return the first line of a config's docstring, or an empty text."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def copy_config(name: str, destination: str | Path) -> Path:
    """Copy a shipped config and point its `_base_` at the shipped bases.

    Raises:
        FileNotFoundError: unknown config.
        ValueError: the destination exists.
    """
    source = resolve_config(name)
    target = Path(destination).expanduser()
    if target.is_dir():
        target = target / source.name
    if target.exists():
        raise ValueError(f"{target} exists; give another name")
    text = source.read_text(encoding="utf-8")
    if "_base_" in text:
        text = _with_moved_bases(text, source.parent, target.parent)
    return write_text(target, text)


def _with_moved_bases(text: str, source: Path, target: Path) -> str:
    """Rewrite the relative paths in the `_base_` of a config's text for another folder."""
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or "_base_" not in map(ast.unparse, node.targets):
            continue
        values = ast.literal_eval(node.value)
        many = isinstance(values, (list, tuple))
        moved = [_moved_base(value, source, target) for value in (values if many else [values])]
        lines = text.splitlines(keepends=True)
        inner = "".join(f"    {value!r},\n" for value in moved)
        new = f"_base_ = [\n{inner}]\n" if many else f"_base_ = {moved[0]!r}\n"
        return "".join([*lines[: node.lineno - 1], new, *lines[node.end_lineno :]])
    return text


def _moved_base(base: str, source: Path, target: Path) -> str:
    if "::" in base or Path(base).is_absolute():
        return base
    return Path(os.path.relpath((source / base).resolve(), target.resolve())).as_posix()
