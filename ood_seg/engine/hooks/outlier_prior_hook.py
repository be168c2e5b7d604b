"""Hook that gives the balanced losses their outlier prior before training starts."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from ood_seg.engine.outlier_prior import count_outlier_predictions, write_prior

_CHECKPOINT_KEY = "outlier_prior_counts"


@HOOKS.register_module()
class OutlierPriorHook(Hook):
    """Counts the pre-trained model's arg-max over pasted pixels before the first iteration.

    The counts go to every loss of the energy head that has `set_prior`, to
    `WORK_DIR/outlier_prior.json` and into each checkpoint; a resumed run takes them from there.
    Losses whose config gives a prior are left alone, and if all do, nothing is counted.

    Args:
        num_images: number of pasted scenes to look at (the paper uses 10000).
        seed: fixes the scenes.
    """

    priority = "VERY_HIGH"

    def __init__(self, num_images: int = 10_000, seed: int = 0) -> None:
        if num_images < 1:
            raise ValueError(f"num_images must be positive, got {num_images}")
        self.num_images = num_images
        self.seed = seed
        self.counts: torch.Tensor | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the counts of a run that is resumed."""
        self.counts = checkpoint.get(_CHECKPOINT_KEY)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the counts with the weights that they were used for."""
        if self.counts is not None:
            checkpoint[_CHECKPOINT_KEY] = self.counts

    def before_train(self, runner: Runner) -> None:
        """Measure the prior, unless the run is resumed or every prior is given."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        losses = _losses_without_prior(model)
        if not losses:
            runner.logger.info("OutlierPriorHook: every loss has its prior, nothing to measure")
            self.counts = None
            return
        resumed = runner.iter > 0 and self.counts is not None
        if not resumed:
            self.counts = self._count(runner, model)
        for loss in losses:
            loss.set_prior(self.counts)
        prior = (self.counts / self.counts.sum()).tolist()
        runner.logger.info(
            f"Outlier prior ({'resumed' if resumed else 'measured'}): "
            + ", ".join(f"{p:.4f}" for p in prior)
        )

    def _count(self, runner: Runner, model: nn.Module) -> torch.Tensor:
        loader = runner.train_dataloader
        counts = count_outlier_predictions(
            model,
            loader.dataset,
            num_images=self.num_images,
            seed=self.seed,
            batch_size=loader.batch_size,
            num_workers=loader.num_workers,
        )
        if is_main_process():
            write_prior(
                Path(runner.work_dir) / "outlier_prior.json",
                counts,
                classes=tuple(loader.dataset.metainfo["classes"]),
                model=str(runner.cfg.get("load_from")),
                config=str(runner.cfg.filename),
                num_images=self.num_images,
                seed=self.seed,
            )
        return counts


def _losses_without_prior(model: nn.Module) -> list[nn.Module]:
    """Losses of the energy head that need a prior and have none."""
    losses = model.energy_head.losses
    return [loss for loss in losses if hasattr(loss, "set_prior") and loss.prior is None]
