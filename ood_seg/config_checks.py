"""Checks of a config before anything is built from it: types, arguments, and options."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ood_seg.spelling import did_you_mean

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.registry import Registry

REGISTERED_BY = "modules with classes of your own are named by `custom_imports`"
_SHOWN = 3
# Top-level entry -> registry of mmengine.registry that its dicts with a `type` are built from.
_ENTRIES = {
    "model": "MODELS",
    "tta_model": "MODELS",
    "tta_pipeline": "TRANSFORMS",
    "prior_dataset": "DATASETS",
    "default_hooks": "HOOKS",
    "custom_hooks": "HOOKS",
    "visualizer": "VISUALIZERS",
    "optim_wrapper": "OPTIM_WRAPPERS",
    "param_scheduler": "PARAM_SCHEDULERS",
    "log_processor": "LOG_PROCESSORS",
    **{f"{phase}_evaluator": "METRICS" for phase in ("val", "test")},
    **{f"{phase}_cfg": "LOOPS" for phase in ("train", "val", "test")},
    **{f"{phase}_dataloader": "DATASETS" for phase in ("train", "val", "test", "fit")},
}
# Entries further down that belong to another registry than what they stand in.
_NESTED = {
    "dataset": "DATASETS",
    "datasets": "DATASETS",
    "pipeline": "TRANSFORMS",
    "transforms": "TRANSFORMS",
    "vis_backends": "VISBACKENDS",
    "optimizer": "OPTIMIZERS",
    "sampler": "DATA_SAMPLERS",
    "batch_sampler": "DATA_SAMPLERS",
}
# Entries whose dicts are built by rules of their own, or only described here.
_SKIPPED = ("init_cfg", "collate_fn", "worker_init_fn", "paramwise_cfg", "metainfo", "constructor")
# Keys beside the arguments that OpenMMLab takes out of an entry before it is built.
_RESERVED = {
    "HOOKS": {"priority"},
    "PARAM_SCHEDULERS": {"convert_to_iter_based"},
    "OPTIM_WRAPPERS": {"constructor", "paramwise_cfg"},
    "LOOPS": {"by_epoch", "dataloader", "evaluator"},
}
# Further top-level entries that mmengine, mmsegmentation or this package read.
_READ = {
    *_ENTRIES,
    *("activation_checkpointing", "allowed_key_mismatch", "auto_scale_lr", "compile"),
    *("custom_imports", "data_preprocessor", "default_scope", "efficient_conv_bn_eval", "env_cfg"),
    *("experiment_name", "find_unused_parameters", "fit_options", "launcher", "load_from"),
    *("log_level", "model_wrapper_cfg", "new_weights", "randomness", "resume", "runner_type"),
    *("sync_bn", "test_pipeline", "work_dir"),
}


def check_config(cfg: Config) -> None:
    """Raise if something in a config cannot be built: wrong types and wrong arguments.

    Only what the runner and `load_model` build is looked at, and of it only what is certain to
    fail. Everything that the config names must have been imported.

    Raises:
        ValueError: an entry has an unknown `type`, or an argument that its type does not have;
            the entry and close matches are named.
    """
    scope = cfg.get("default_scope")
    if scope not in (None, "mmseg", "mmengine"):
        return  # its registries may hold more than those that are known here
    mistakes: list[str] = []
    for entry, kind in _ENTRIES.items():
        if cfg.get(entry) is not None:
            mistakes += _mistakes(cfg[entry], entry, kind)
    hooks = cfg.get("custom_hooks")
    if hooks is not None and not isinstance(hooks, (list, tuple)):
        mistakes = [
            f"custom_hooks must be a list, got {type(hooks).__name__}; add a hook by "
            "custom_hooks=\"[dict(type='NAME', ...)]\""
        ]
    if mistakes:
        more = f"; and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
        raise ValueError(f"config {cfg.filename}: {'; '.join(mistakes[:_SHOWN])}{more}")


def check_option(cfg: Config, key: str) -> None:
    """Raise if an option would change nothing, because its entry is not read by anything.

    That is an entry that a config does not have and nothing knows, or a variable of the config
    whose value was copied to other places.

    Args:
        cfg: the config before the option is applied.
        key: dotted key of the option.

    Raises:
        ValueError: with the entries that were probably meant.
    """
    name = key.partition(".")[0]
    if name in _READ:
        return
    value = cfg.get(name)
    places = [place for entry in _ENTRIES for place in _places(cfg.get(entry), entry, name, value)]
    shown = " or ".join(places[:_SHOWN])
    if name not in cfg:
        hint = f"; did you mean {shown}?" if places else did_you_mean(name, _READ)
        raise ValueError(
            f"option {key}: the config has no entry {name!r}, and nothing reads it{hint}"
        )
    if places and isinstance(value, (list, tuple, dict)) and value:
        raise ValueError(
            f"option {key}: {name} is a variable of the config, whose value was copied when the "
            f"file was read, so that this would change nothing; give {shown} instead"
        )


def _places(value: Any, place: str, name: str, wanted: Any) -> Iterator[str]:
    """Places at or below an entry that have a name, or equal a list or dict."""
    if place.rpartition(".")[2] == name or (
        wanted and isinstance(wanted, (list, tuple, dict)) and value == wanted
    ):
        yield place
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _places(one, f"{place}.{key}", name, wanted)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _places(one, f"{place}.{index}", name, wanted)


def _mistakes(value: Any, place: str, kind: str) -> Iterator[str]:
    """Messages for the entry at a place of the config and for those in it."""
    if isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            yield from _mistakes(one, f"{place}.{index}", kind)
        return
    if not isinstance(value, Mapping):
        return
    named = value.get("type")
    if named is None and kind == "DATASETS" and "dataset" in value:
        yield from _unknown_keys(value, place, "a data loader", _loader_arguments())
    if isinstance(named, str) or inspect.isclass(named):
        yield from _mistakes_of(value, place, kind)
    for key, one in value.items():
        name = str(key)
        if name not in _SKIPPED and not name.endswith("_cfg"):
            yield from _mistakes(one, f"{place}.{name}", _NESTED.get(name, kind))


def _mistakes_of(value: Mapping[str, Any], place: str, kind: str) -> Iterator[str]:
    """Messages for one entry with a type."""
    if "_scope_" in value:
        return
    registry = _registry(kind)
    named = value["type"]
    builder = named if inspect.isclass(named) else _found(named, registry)
    if builder is None:
        if not any(_found(named, other) for other in _all_registries()):
            yield f"{place}: {unknown_type(named, registry)}"
        return
    arguments = accepted_arguments(builder)
    if arguments is None:
        return
    reserved = {"type", "_scope_", "_delete_", *_RESERVED.get(kind, ())}
    given = [key for key in value if key not in reserved]
    yield from _unknown_keys(given, place, getattr(builder, "__name__", named), arguments)


def _unknown_keys(
    given: Iterable[Any], place: str, owner: str, arguments: set[str]
) -> Iterator[str]:
    for key in given:
        if key not in arguments:
            yield f"{place}: {owner} has no argument {key!r}{did_you_mean(key, arguments)}"


def _loader_arguments() -> set[str]:
    """Keys of a data loader in a config."""
    from torch.utils.data import DataLoader

    return argument_names(DataLoader) | {"num_batch_per_epoch", "persistent_workers"}


def _registry(kind: str) -> Registry:
    import mmengine.registry
    import mmseg.registry

    return getattr(mmseg.registry, kind, None) or getattr(mmengine.registry, kind)


def _all_registries() -> Iterator[Registry]:
    import mmengine.registry
    import mmseg.registry

    for module in (mmseg.registry, mmengine.registry):
        yield from (v for v in vars(module).values() if isinstance(v, mmengine.registry.Registry))


def _found(named: str, registry: Registry) -> Any:
    """What a registry or one above it has under a name; a scope's package is not imported."""
    if "." in named:
        return object()  # of another package, or a path to import
    return registry.get(named)


def unknown_type(named: object, registry: Registry) -> str:
    """Return the message for a type that no registry has."""
    return (
        f"there is no {registry.name} of the type {str(named)!r}"
        f"{did_you_mean(named, names_of(registry))}; {REGISTERED_BY}"
    )


def names_of(registry: Registry | None) -> Iterator[str]:
    """All names that a registry and those above it find."""
    while registry is not None:
        yield from registry.module_dict
        registry = registry.parent


def argument_names(builder: Any) -> set[str]:
    """Return the arguments that a class and those that it inherits from, or a function, name."""
    found: set[str] = set()
    for function in _constructors(builder):
        found |= set(inspect.signature(function).parameters)
    return found - {"self", "args", "kwargs"}


def accepted_arguments(builder: Any) -> set[str] | None:
    """Return the names of all arguments that a class or function takes; None if it may take more.

    `**kwargs` are followed to the constructor of the base class where they are given to that, and
    to nothing else.
    """
    names: set[str] = set()
    for function in _constructors(builder):
        parameters = inspect.signature(function).parameters.values()
        variable = [one.name for one in parameters if one.kind is one.VAR_KEYWORD]
        names |= {one.name for one in parameters} - {"self", "args", *variable}
        if not variable:
            return names
        if not _hands_on(function, variable[0]):
            return None
    return None


def _constructors(builder: Any) -> Iterator[Any]:
    """The constructors of a class and of those that it inherits from; or a function."""
    if not inspect.isclass(builder):
        if inspect.isfunction(builder):
            yield builder
        return
    for one in inspect.getmro(builder):
        target = vars(one).get("__init__")
        if inspect.isfunction(target):
            yield target


@functools.cache
def _hands_on(function: Any, variable: str) -> bool:
    """Whether a constructor gives its keyword arguments to `__init__`, and does no more."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return False
    uses = sum(isinstance(node, ast.Name) and node.id == variable for node in ast.walk(tree))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    handed = sum(
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "__init__"
        and any(
            one.arg is None and isinstance(one.value, ast.Name) and one.value.id == variable
            for one in call.keywords
        )
        for call in calls
    )
    return uses == handed == 1
