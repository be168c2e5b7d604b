"""What the commands that look at a pre-trained model on its training scenes share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _arguments

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn
    from torch.utils.data import DataLoader


def add_arguments(
    parser: argparse.ArgumentParser, *, num_images: int, one_process: bool = False
) -> None:
    """Add config, checkpoint, number of scenes and output file."""
    _arguments.add_model(parser, what="pre-trained weights")
    parser.add_argument(
        "--num-images",
        type=int,
        default=num_images,
        metavar="N",
        help="pasted scenes to look at (default: %(default)s)",
    )
    parser.add_argument(
        "--out", metavar="FILE.json", help="file to write (default: in the work dir)"
    )
    _arguments.add_run(parser, one_process=one_process)


def load(args: argparse.Namespace) -> tuple[Config, nn.Module, DataLoader, int]:
    """Build the model with its pre-trained weights, and the training data.

    Returns:
        Config, model, training data loader, seed.

    Raises:
        ValueError: no scenes are asked for, or the config trains on nothing.
    """
    if args.num_images < 1:
        raise ValueError(f"--num-images must be positive, got {args.num_images}")
    cfg = _arguments.load_config(args)
    from ood_seg.engine.hooks.checkpoint_guard import unwrap
    from ood_seg.engine.runner import (
        allow_new_weights,
        build_runner,
        set_checkpoint,
        verify_readable,
    )

    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"config {args.config} has no train_dataloader; give the config of the fine-tuning, "
            "whose training pipeline pastes outliers"
        )
    set_checkpoint(cfg, args.checkpoint)
    cfg.model.pop("distillation", None)
    allow_new_weights(cfg)
    verify_readable(cfg.load_from)
    runner = build_runner(cfg)
    runner.load_or_resume()
    return cfg, unwrap(runner.model), runner.build_dataloader(cfg.train_dataloader), runner.seed


def output_path(args: argparse.Namespace, cfg: Config, name: str) -> Path:
    """The JSON file to write.

    Raises:
        ValueError: it has another suffix.
    """
    path = Path(args.out) if args.out else Path(cfg.work_dir) / name
    if path.suffix != ".json":
        raise ValueError(f"--out must be a .json file, got {path}")
    return path
