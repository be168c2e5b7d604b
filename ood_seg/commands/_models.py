"""A model with its weights, for the commands that bring scores of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from torch import nn


def load_model(cfg: Config, checkpoint: str | None) -> tuple[nn.Module, Runner]:
    """Build the model of a config in evaluation mode, without the config's own score.

    Its statistics may not exist yet, and outlier losses and a teacher are of use in training
    alone.

    Args:
        cfg: changed: score, smoothing, outlier losses and distillation go.
        checkpoint: None: the config's `load_from`.

    Raises:
        ValueError: there is no checkpoint, a damaged one, or one of another model.
    """
    from ood_seg.engine.hooks.checkpoint_guard import unwrap
    from ood_seg.engine.runner import (
        build_runner,
        set_checkpoint,
        verify_readable,
    )

    set_checkpoint(cfg, checkpoint)
    cfg.model.pop("distillation", None)
    head = cfg.model.get("energy_head") or {}
    cfg.model["energy_head"] = {
        "type": "EnergyHead",
        "num_classes": head.get("num_classes"),
    }
    verify_readable(cfg.load_from)
    runner = build_runner(cfg)
    runner.load_or_resume()
    model = unwrap(runner.model).eval()
    if not hasattr(model, "energy_head"):
        raise ValueError(
            f"{type(model).__name__} gives no anomaly map; set model.type = 'OODEncoderDecoder'"
        )
    return model, runner
