"""Hook that checks a checkpoint between its loading and its use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseModel, BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from ood_seg.checkpoints import check_weights

_SHOWN_KEYS = 5


class CheckpointGuard(Hook):
    """Refuses a checkpoint before it is used: of another model, not finite, or not to be resumed.

    Args:
        origin: path of the checkpoint, for the error.
        allowed: regular expressions of keys that may differ, see `check_matches`.
    """

    priority = "VERY_HIGH"

    def __init__(self, origin: str = "the checkpoint", allowed: Sequence[str] = ()) -> None:
        self.origin = origin
        self.allowed = tuple(allowed)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare the weights with the model; drop the config text inside the checkpoint."""
        # mmengine would run that text as Python while resuming, only to read `gpu_ids` of it.
        checkpoint.get("meta", {}).pop("config", None)
        if runner._resume:
            _check_training_state(checkpoint, self.origin)
        model = unwrap(runner.model)
        weights = check_weights(model, checkpoint, origin=self.origin, allowed=self.allowed)
        new = [key for key in model.state_dict() if key not in weights]
        new = [key for key in new if not key.endswith("num_batches_tracked")]
        if new:
            more = f", ... ({len(new)} in all)" if len(new) > _SHOWN_KEYS else ""
            runner.logger.info(
                f"New weights, which {self.origin} does not have and the config allows to be "
                f"missing: {', '.join(new[:_SHOWN_KEYS])}{more}"
            )


def _check_training_state(checkpoint: dict[str, Any], origin: str) -> None:
    """Raise unless a training can be resumed from the checkpoint."""
    meta = checkpoint.get("meta", {})
    counted = all(isinstance(meta.get(key), int) and meta[key] >= 0 for key in ("iter", "epoch"))
    if not counted or not isinstance(checkpoint.get("message_hub"), dict):
        raise ValueError(
            f"{origin} holds no state of a training (meta.iter, meta.epoch, message_hub), so it "
            "cannot be resumed; start from its weights instead: load_from, without --resume"
        )


def unwrap(model: BaseModel) -> BaseModel:
    """Return the model inside data-parallel and test-time-augmentation wrappers."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
