"""One line for an error that mmengine raised while it built an object from a config."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from ood_seg.config_checks import argument_names, unknown_type
from ood_seg.spelling import did_you_mean

_BUILDERS = ("build_from_cfg", "build_runner_from_cfg", "build_model_from_cfg")
# Raised by constructors of OpenMMLab and torch for values that they cannot take.
_OF_CONSTRUCTORS = (AssertionError, KeyError, TypeError, ValueError, RuntimeError, ImportError)
_FAMILY = re.compile(r"[/\\](?:mmengine|mmcv|mmseg|torch[/\\](?:optim|utils[/\\]data))[/\\]")
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def config_mistake(error: BaseException) -> str | None:
    """Return a message that names the entry of the config, or None for any other error.

    Unknown types and arguments are named with those that are spelled alike.
    """
    if not isinstance(error, _OF_CONSTRUCTORS):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    building = next((frame for frame in reversed(frames) if _is_builder(frame)), None)
    if building is None:
        return (
            _unknown_optimizer(frames) or _no_loader(frames, error) or _inconsistent(frames, error)
        )
    if building is not frames[-1]:
        return _refused_by(building.f_locals, frames, error)
    return _not_built(building.f_locals, error)


def _is_builder(frame: FrameType) -> bool:
    return frame.f_code.co_name in _BUILDERS and "build_functions" in frame.f_code.co_filename


def _not_built(values: Mapping[str, Any], error: BaseException) -> str:
    """The message for a type that is missing or unknown, or arguments that it does not have."""
    kind, registry = values.get("obj_type"), values.get("registry")
    if kind is None:
        return f"config: an entry has no `type`: {_short(values.get('cfg'))}"
    if values.get("obj_cls") is None:
        return _unknown_type(kind, registry)
    found = _UNEXPECTED.search(str(error))
    meant = did_you_mean(found[1], argument_names(values["obj_cls"])) if found else ""
    return f"config: {error}{meant}"


def _unknown_type(kind: object, registry: Any) -> str:
    scope = str(kind).rpartition(".")[0]
    others = [child.scope for child in _below(registry.root) if kind in child.module_dict]
    elsewhere = _other_places(kind, registry)
    if elsewhere:
        hint = (
            f"; {' and '.join(elsewhere)} has it, but this entry is built from {_place(registry)}"
        )
    elif others:
        hint = f" in the scope {registry.scope!r}; set default_scope={others[0]!r}, which has it"
    elif scope:
        hint = f"; is the package {scope} installed?"
    else:
        return f"config: {unknown_type(kind, registry)}"
    return f"config: there is no {registry.name} of the type {str(kind)!r}{hint}"


def _below(registry: Any) -> Iterator[Any]:
    """A registry and all that descend from it."""
    yield registry
    for child in registry.children.values():
        yield from _below(child)


def _other_places(kind: object, registry: Any) -> list[str]:
    """The registries of other kinds, of the same scope or above it, that have the type."""
    places = []
    while registry is not None:
        found = _registries(registry.scope)
        places += [name for name, one in found.items() if kind in one.module_dict]
        registry = registry.parent
    return places


def _place(registry: Any) -> str:
    """Where a registry is imported from, such as `mmseg.registry.TRANSFORMS`."""
    found = _registries(registry.scope)
    return next((name for name, one in found.items() if one is registry), registry.name)


def _registries(scope: str) -> dict[str, Any]:
    """The registries of a scope by the names that they are imported by."""
    from mmengine.registry import Registry

    module = f"{scope}.registry"
    values = vars(sys.modules[module]) if module in sys.modules else {}
    return {f"{module}.{k}": one for k, one in values.items() if isinstance(one, Registry)}


def _refused_by(
    values: Mapping[str, Any], frames: list[FrameType], error: BaseException
) -> str | None:
    """The message for an error inside a constructor of OpenMMLab or torch, else None."""
    constructor = next((f for f in reversed(frames) if "__init__" in f.f_code.co_name), None)
    raised = frames[-1].f_code.co_filename
    if constructor is None or not _FAMILY.search(raised):
        return None
    reason = str(error).strip().partition("\n")[0] or f"{type(error).__name__} in {raised}"
    return f"config: {_short(values.get('obj_type'))} cannot be built: {reason}"


def _no_loader(frames: list[FrameType], error: BaseException) -> str | None:
    """The message for options that torch's data loader refuses, which no registry builds."""
    if "build_dataloader" not in (frame.f_code.co_name for frame in frames):
        return None
    return f"config: a data loader cannot be built: {error}"


def _inconsistent(frames: list[FrameType], error: BaseException) -> str | None:
    """The message for entries that the runner refuses together, such as a loader without a loop."""
    if not frames:  # an error that was never raised has no traceback
        return None
    code = frames[-1].f_code
    of_runner = code.co_name == "__init__" and code.co_filename.endswith("runner.py")
    return f"config: {error}" if of_runner and _FAMILY.search(code.co_filename) else None


def _unknown_optimizer(frames: list[FrameType]) -> str | None:
    """The message for an unknown optimiser, which mmengine does not look for in its registry."""
    for frame in reversed(frames):
        config = frame.f_locals.get("optimizer_cfg")
        if "default_constructor" in frame.f_code.co_filename and isinstance(config, dict):
            from mmengine.registry import OPTIMIZERS

            kind = config.get("type")
            return None if OPTIMIZERS.get(str(kind)) else _unknown_type(kind, OPTIMIZERS)
    return None


def _short(value: object) -> str:
    text = value.__name__ if inspect.isclass(value) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."
