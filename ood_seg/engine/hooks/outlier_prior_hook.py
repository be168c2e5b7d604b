"""Hook that sets the outlier prior of the balanced losses before training starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ood_seg.engine.hooks.checkpoint_guard import unwrap
from ood_seg.engine.outlier_prior import dataset_classes, measure_outlier_prior
from ood_seg.outlier_priors import OutlierPrior, find_prior, write_prior

_CHECKPOINT_KEY = "outlier_prior_counts"


@HOOKS.register_module()
class OutlierPriorHook(Hook):
    """Sets the outlier prior of the losses: measured before the first iteration, or given.

    Measuring counts the pre-trained model's arg-max over pasted pixels. The prior goes to every
    loss of the energy head that has `set_prior`, to `WORK_DIR/outlier_prior.json` and into each
    checkpoint; a resumed run reads it from there. Losses whose config gives a prior keep
    it; if all do, nothing is measured.

    Args:
        num_images: number of pasted scenes (the paper uses 10000).
        seed: fixes the scenes.
        source: None to measure; else the JSON file of an earlier measurement
            (`ood-seg estimate-outlier-prior`) or the name of a shipped prior
            (`cityscapes-coco-wrn38`, the published one).
    """

    priority = "VERY_HIGH"

    def __init__(self, num_images: int = 10_000, seed: int = 0, source: str | None = None) -> None:
        if num_images < 1:
            raise ValueError(f"num_images must be positive, got {num_images}")
        self.num_images = num_images
        self.seed = seed
        self.given = None if source is None else find_prior(source)
        self.source = source
        self.weights: torch.Tensor | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the prior of a run that is resumed."""
        self.weights = checkpoint.get(_CHECKPOINT_KEY)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the prior with the weights that it was used for."""
        if self.weights is not None:
            checkpoint[_CHECKPOINT_KEY] = self.weights

    def before_train(self, runner: Runner) -> None:
        """Set the prior, unless every loss has one."""
        model = unwrap(runner.model)
        losses = _losses_without_prior(model)
        if not losses:
            runner.logger.info("OutlierPriorHook: every loss has a prior, nothing to measure")
            self.weights = None
            return
        weights, kind = self.weights, "resumed"
        if runner.iter == 0 or weights is None:
            prior = self._find(runner, model)
            weights, kind = torch.tensor(prior.counts or prior.prior), self.source or "measured"
            if is_main_process():
                write_prior(Path(runner.work_dir) / "outlier_prior.json", prior)
        self.weights = weights
        for loss in losses:
            loss.set_prior(weights)
        shares = (weights / weights.sum()).tolist()
        listed = ", ".join(f"{share:.4f}" for share in shares)
        runner.logger.info(f"Outlier prior ({kind}): {listed}")

    def _find(self, runner: Runner, model: BaseModel) -> OutlierPrior:
        """The given prior, checked against the dataset's classes, or a measured one."""
        loader = runner.train_dataloader
        if self.given is not None:
            self.given.check_classes(dataset_classes(loader), origin=str(self.source))
            return self.given
        runner.logger.info(f"Measuring the outlier prior on {self.num_images} pasted scenes")
        return measure_outlier_prior(
            model, loader, runner.cfg, num_images=self.num_images, seed=self.seed
        )


def _losses_without_prior(model: BaseModel) -> list[Any]:
    """Losses of the energy head that need a prior and have none."""
    losses = model.energy_head.losses
    return [loss for loss in losses if hasattr(loss, "set_prior") and loss.prior is None]
