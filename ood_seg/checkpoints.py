"""Checkpoints are loaded as data, never as code, and only into the model they belong to.

`torch.load` unpickles, and unpickling may run code. Everything here loads with
`weights_only=True` and a short list of extra types that mmengine's own training checkpoints
hold. Two fallbacks of mmengine are switched off: full unpickling when the safe load fails, and
silence when the keys of a checkpoint are those of another model.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ood_seg.io.files import atomic_path

_SHOWN_KEYS = 5
_DTYPES = ("bool", "uint8", "uint32", "int32", "int64", "float16", "float32", "float64")
_FORCE_SAFE, _FORCE_UNSAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def safe_globals() -> list[Any]:
    """Return the types beside tensors that a training checkpoint of mmengine may hold.

    NumPy's scalars and arrays, mmengine's `HistoryBuffer` (where mmengine is installed) and a
    `getattr` that reads nothing but that class's own statistics methods. The real `getattr`,
    which mmengine allows, would give an untrusted file any attribute of any allowed object.
    """
    core = getattr(np, "_core", None) or np.core
    reconstruct, scalar = core.multiarray._reconstruct, core.multiarray.scalar
    allowed: list[Any] = [np.ndarray, np.dtype, slice]
    allowed += [type(np.dtype(name)) for name in _DTYPES]
    for function in (reconstruct, scalar):
        # NumPy 2 moved the module; files written by either version must load under both.
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            allowed.append((function, f"{module}.{function.__name__}"))
    try:
        from mmengine.logging.history_buffer import HistoryBuffer
    except ImportError:
        return allowed
    return [*allowed, HistoryBuffer, (_statistics_getter(HistoryBuffer), "builtins.getattr")]


@functools.cache
def _statistics_getter(owner: type) -> Callable[[Any, str], Any]:
    methods = {"min", "max", "current", "mean"}

    def read_statistics_method(target: Any, name: str) -> Any:
        if target is not owner or name not in methods:
            raise UnpicklingError(f"attribute {name!r} of {target!r} may not be read")
        return getattr(target, name)

    return read_statistics_method


def secure_loading() -> None:
    """Make every `torch.load` of this process refuse pickled code; may be called repeatedly."""
    os.environ[_FORCE_SAFE] = "1"
    os.environ.pop(_FORCE_UNSAFE, None)
    torch.serialization.add_safe_globals(safe_globals())
    try:
        from mmengine.runner import checkpoint
    except ImportError:
        return
    if hasattr(checkpoint, "get_torch_safe_globals"):
        checkpoint.get_torch_safe_globals = safe_globals


@contextlib.contextmanager
def _allowing(types: list[Any]) -> Iterator[None]:
    # torch's own context manager, on exit, also removes what was allowed before.
    before = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals(types):
            yield
    finally:
        torch.serialization.add_safe_globals(before)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file to the CPU as data.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, is damaged, or holds pickled code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist; give the path of a .pth file (in the shipped "
            "configs, data roots start with $OOD_SEG_DATA, by default `data`)"
        )
    try:
        with _allowing(safe_globals()):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(_explain_refusal(path, str(error))) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is not a readable checkpoint ({reason}); it may be truncated: "
            "download or save it again"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ValueError(
            f"{path} holds a {type(checkpoint).__name__}, expected a dict of weights; save "
            "`model.state_dict()` instead of the model"
        )
    return dict(checkpoint)


def _explain_refusal(path: Path, reason: str) -> str:
    if not _looks_pickled(path):
        return f"{path} is not a checkpoint of torch; give a .pth file written by `torch.save`"
    found = re.search(r"GLOBAL (\S+)", reason)
    what = f" ({found.group(1)})" if found else ""
    return (
        f"{path} was refused: it holds pickled code{what}, which could do anything on this "
        "machine. If you trust its origin, load it once where it was made and save only "
        "`model.state_dict()`"
    )


def _looks_pickled(path: Path) -> bool:
    # Zip archives are what torch writes; bare pickles with a protocol byte are its old format.
    with path.open("rb") as stream:
        return stream.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Save a checkpoint; the file appears complete or not at all, equal for equal content."""
    # Given a path, torch would store the name of the unfinished file, which is random.
    with atomic_path(Path(path)) as unfinished, unfinished.open("wb") as file:
        torch.save(dict(content), file)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Load the weights of a checkpoint file: the bare dict, or its `state_dict` entry.

    A leading `module.` of every key, left by data-parallel training, is removed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: see `load_checkpoint`; or the file holds no tensors by name, or NaN or infinite
            ones.
    """
    weights = weights_of(load_checkpoint(path), origin=str(path))
    check_finite(weights, origin=str(path))
    return weights


def weights_of(checkpoint: Mapping[str, Any], *, origin: str = "the checkpoint") -> dict:
    """Return the weights in a loaded checkpoint: its `state_dict` entry, or the dict itself."""
    state_dict = checkpoint.get("state_dict", checkpoint)
    state_dict = {
        re.sub(r"^module\.", "", str(key)): value
        for key, value in state_dict.items()
        if isinstance(value, Tensor)
    }
    if not state_dict:
        raise ValueError(
            f"{origin} holds no weights: expected tensors by name, found the entries "
            f"{sorted(map(str, checkpoint))[:_SHOWN_KEYS]}"
        )
    return state_dict


def check_weights(
    model: nn.Module,
    checkpoint: Mapping[str, Any],
    *,
    origin: str = "the checkpoint",
    allowed: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Return the weights in a loaded checkpoint if they are finite and those of this model.

    Args:
        model, origin, allowed: see `check_matches`.
        checkpoint: content of the file.

    Raises:
        ValueError: there are no weights, NaN or infinite ones, or those of another model.
    """
    weights = weights_of(checkpoint, origin=origin)
    check_finite(weights, origin=origin)
    check_matches(model, weights, origin=origin, allowed=allowed)
    return weights


def check_finite(state_dict: Mapping[str, Tensor], *, origin: str = "the checkpoint") -> None:
    """Raise if a weight is NaN or infinite.

    Raises:
        ValueError: with the name of the first one.
    """
    for name, value in state_dict.items():
        if not torch.isfinite(value).all():
            raise ValueError(
                f"{origin}: {name} holds NaN or infinite values: its training diverged, or the "
                "file is damaged; take an earlier checkpoint"
            )


def check_matches(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    origin: str = "the checkpoint",
    allowed: Sequence[str] = (),
) -> None:
    """Raise unless the weights are those of this model, key by key and shape by shape.

    For a model with a method `with_extra_channels(state_dict) -> dict`, which widens weights of
    fewer output channels, its result is compared.

    Args:
        model: the built model.
        state_dict: the weights to be loaded into it.
        origin: name of the checkpoint in the error.
        allowed: regular expressions of keys that may be missing, superfluous or of another
            shape (matched from the start of the key).

    Raises:
        ValueError: with the number and the first of the missing, unexpected and differently
            shaped keys.
    """
    own = model.state_dict()
    widen = getattr(model, "with_extra_channels", None)
    if widen is not None:
        state_dict = widen(state_dict)
    # Counters that old versions of torch did not save; nothing depends on them.
    patterns = [re.compile(p) for p in (*allowed, r".*\.num_batches_tracked$")]

    def unexcused(keys) -> list[str]:
        return [key for key in keys if not any(p.match(key) for p in patterns)]

    shared = [key for key in own if key in state_dict]
    differing = unexcused(k for k in shared if own[k].shape != state_dict[k].shape)
    problems = {
        "missing": unexcused(key for key in own if key not in state_dict),
        "unexpected": unexcused(key for key in state_dict if key not in own),
        "of another shape": [
            f"{key} {tuple(state_dict[key].shape)} for {tuple(own[key].shape)}" for key in differing
        ],
    }
    if any(problems.values()):
        listed = "; ".join(_first(kind, keys) for kind, keys in problems.items() if keys)
        raise ValueError(
            f"{origin} belongs to another model: of {len(own)} weights of "
            f"{type(model).__name__}, {listed}. Give the checkpoint of this config, or name the "
            "keys that may differ in the config: allowed_key_mismatch = ['^auxiliary_head']"
        )


def _first(kind: str, keys: Sequence[str]) -> str:
    rest = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:_SHOWN_KEYS])}{rest})"


def is_local(source: str) -> bool:
    """Whether a checkpoint is a file here, not a URL or a name like `torchvision://`."""
    return "://" not in source
