"""Weights in a checkpoint, compared with the model that they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ood_seg.checkpoints.files import load_checkpoint

_SHOWN_KEYS = 5


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
    """Return the weights in a loaded checkpoint: its `state_dict` entry, or the dict itself.

    Raises:
        ValueError: it holds none.
    """
    state_dict = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"{origin}: its entry state_dict is a {type(state_dict).__name__}, expected a dict"
        )
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
    """Raise if a weight is NaN or infinite, or holds no plain real numbers.

    Raises:
        ValueError: with the name of the first one.
    """
    for name, value in state_dict.items():
        plain = value.layout is torch.strided and not (value.is_meta or value.is_quantized)
        if not plain or value.is_complex():
            kind = "meta" if value.is_meta else value.layout
            raise ValueError(
                f"{origin}: {name} is a tensor of {value.dtype} on {value.device} ({kind}); "
                "weights must be dense real numbers"
            )
        if not torch.isfinite(value.float() if value.element_size() == 1 else value).all():
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
        part = next(keys[0] for keys in problems.values() if keys).partition(".")[0]
        raise ValueError(
            f"{origin} belongs to another model: of {len(own)} weights of "
            f"{type(model).__name__}, {listed}. Give the checkpoint of this config, or name the "
            f"keys that may differ in the config: allowed_key_mismatch = ['^{part}']"
        )


def _first(kind: str, keys: Sequence[str]) -> str:
    rest = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:_SHOWN_KEYS])}{rest})"
