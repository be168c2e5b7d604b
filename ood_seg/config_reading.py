"""Reading of config files: their syntax and bases, the modules that they import, their errors."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.spelling import did_you_mean

if TYPE_CHECKING:
    from mmengine.config import Config

REGISTER = "ood_seg.register"


def verify_files(path: Path) -> None:
    """Raise unless a config file and its bases exist and are Python code; imports no OpenMMLab.

    Bases of other packages (`mmseg::...`) are not looked at.

    Raises:
        FileNotFoundError: a base does not exist; the file that names it, and files of a similar
            name, are given.
        ValueError: a syntax error.
    """
    for base in _written_bases(path):
        if "::" in base:
            continue
        target = path.parent / base
        if not target.is_file():
            meant = did_you_mean(target.name, [one.name for one in target.parent.glob("*.py")])
            raise FileNotFoundError(f"config {path}: its base {base} does not exist{meant}")
        verify_files(target)


def _written_bases(path: Path) -> list[str]:
    """The literal `_base_` of a file; nothing for other formats than Python."""
    if path.suffix != ".py":
        return []
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"config {path} is not Python code: {error}") from error
    for node in body:
        if isinstance(node, ast.Assign) and "_base_" in map(ast.unparse, node.targets):
            value = ast.literal_eval(node.value)
            return [value] if isinstance(value, str) else list(value)
    return []


def read_config(path: Path) -> Config:
    """Return the config of a file, without the imports that it asks for.

    Its `custom_imports` lists the modules that the file and its bases name: mmengine alone keeps
    only those of the last file.

    Raises:
        ValueError: the code of the config, or its inheritance, fails.
    """
    from mmengine.config import Config

    try:
        cfg = Config.fromfile(str(path), import_custom_modules=False)
        modules = list(_imports(str(path)))
    except Exception as error:  # a config is code, and can raise anything
        raise ValueError(_failure(path, error)) from error
    _set_imports(cfg, modules)
    return cfg


def _failure(path: Path, error: Exception) -> str:
    """The message for an error while a config is read, with file and line if its code raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    reason = error.args[0] if isinstance(error, KeyError) and error.args else error
    where = f"config {path}"
    if "mmengine" not in frame.filename:
        where = f"config {frame.filename}, line {frame.lineno}"
    if "Duplicate key" in str(reason):
        reason = f"{reason}; let one base inherit from the other, or set the key in this file alone"
    return f"{where}: {type(error).__name__}: {reason}"


def _imports(path: str) -> Iterator[str]:
    """Modules that the `custom_imports` of a config file and of its bases name, bases first."""
    from mmengine.config import Config

    for base in Config._get_base_files(path):
        yield from _imports(Config._get_cfg_path(base, path)[0])
    if "custom_imports" in Path(path).read_text(encoding="utf-8"):
        yield from named_modules(Config.fromfile(path, import_custom_modules=False))


def named_modules(cfg: Config) -> list[str]:
    """Return the modules that a config's `custom_imports` names."""
    names = (cfg.get("custom_imports") or {}).get("imports") or []
    return [names] if isinstance(names, str) else list(names)


def _set_imports(cfg: Config, modules: list[str]) -> None:
    """Put modules before those that the config names."""
    former: dict[str, Any] = cfg.get("custom_imports") or {"allow_failed_imports": False}
    names = list(dict.fromkeys([*modules, *named_modules(cfg)]))
    cfg.custom_imports = {**former, "imports": names}


def import_modules(cfg: Config, modules: list[str]) -> None:
    """Import all that is registered here, some modules, and what `custom_imports` names.

    Its list then holds all of them, so that mmsegmentation's own tools can use the config that a
    training leaves in its work directory.

    Args:
        cfg: the config; changed.
        modules: that were named before options replaced the list.

    Raises:
        ValueError: a module cannot be imported, and `allow_failed_imports` is not set.
    """
    from mmengine.utils import import_modules_from_strings

    _set_imports(cfg, [REGISTER, *modules])
    for name in cfg.custom_imports.imports:
        try:
            import_modules_from_strings(
                [name], allow_failed_imports=cfg.custom_imports.get("allow_failed_imports", False)
            )
        except ImportError as error:
            raise ValueError(
                f"config {cfg.filename}: custom_imports names {name!r}, which cannot be imported "
                f"({error.__cause__ or error.__context__ or error}); install it, or put its folder "
                "on PYTHONPATH"
            ) from error
