"""A model with its weights, from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import CheckpointLoader
from mmseg.registry import MODELS

from ood_seg.checkpoints import check_weights, is_local, load_checkpoint
from ood_seg.config_files import load_config
from ood_seg.models.classes import class_names_and_colours

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    *,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    plain_score: bool = False,
) -> OODEncoderDecoder:
    """Return the model of a config with the weights of a checkpoint, in evaluation mode.

    The checkpoint is loaded as data, never as code, and only if it belongs to this model. Keys
    that match the config's `allowed_key_mismatch` may differ. Distillation is left out: the
    teacher is used in training only.

    Args:
        config: path of a file, name of a shipped config (`ood-seg configs` lists them), or a
            config, which is copied. A config file is Python code and is executed.
        checkpoint: file or URL; None: the config's `load_from`.
        device: `cuda`, `cuda:1`, `cpu`, ...; None: `cuda` if available, else `cpu`.
        options: values that replace those of the config, by dotted key or as `KEY=VALUE`.
        plain_score: replace the config's score by the plain energy, without smoothing and outlier
            losses; for callers that bring scores of their own, or fit the statistics that the
            config's score reads.

    Returns:
        The model. Its attribute `cfg` is the config that it was built from, with
        `load_from` set to the checkpoint, and `dataset_meta` a dict with the names (`classes`)
        and RGB colours (`palette`) of its classes.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: no checkpoint is given; it is unsafe, damaged, not finite or of another model;
            the model gives no anomaly scores; or the device is not available.
    """
    cfg = load_config(config, options)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    source = checkpoint or cfg.get("load_from")
    if not source:
        raise ValueError("no checkpoint: the config has no `load_from`; give a checkpoint file")
    cfg.load_from = str(source)
    chosen = choose_device(device)
    content = _read(cfg.load_from)
    cfg.model.pop("distillation", None)  # would load a second checkpoint
    if plain_score:
        head = cfg.model.get("energy_head") or {}
        cfg.model["energy_head"] = {"type": "EnergyHead", "num_classes": head.get("num_classes")}
    model = _built(cfg)
    allowed = cfg.get("allowed_key_mismatch", ())
    weights = check_weights(model, content, origin=cfg.load_from, allowed=allowed)
    own, weights = model.state_dict(), model.with_extra_channels(weights)
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    names, colours = class_names_and_colours(cfg, content, count=model.num_classes)
    model.cfg, model.dataset_meta = cfg, {"classes": names, "palette": colours}
    return model.to(chosen).eval()


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device to run on.

    Raises:
        ValueError: the name is no device, or this machine has none of that kind.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from error
    return chosen


def _read(source: str) -> Mapping[str, Any]:
    if is_local(source):
        return load_checkpoint(source)
    return CheckpointLoader.load_checkpoint(source, map_location="cpu")


def _built(cfg: Config) -> OODEncoderDecoder:
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if not hasattr(model, "energy_head"):
        raise ValueError(
            f"{type(model).__name__} gives no anomaly map; set model.type = 'OODEncoderDecoder'"
        )
    return model
