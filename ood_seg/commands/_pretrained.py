"""What the commands that look at a pre-trained model on its training scenes share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _runner
from ood_seg.commands.test import choose_checkpoint

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn
    from torch.utils.data import DataLoader


def add_arguments(
    parser: argparse.ArgumentParser, *, num_images: int, one_process: bool = False
) -> None:
    """Add config, checkpoint, number of scenes and output file."""
    parser.add_argument("config", help=_runner.CONFIG_HELP)
    parser.add_argument(
        "checkpoint", nargs="?", help="pre-trained weights; without it the config's `load_from`"
    )
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
    _runner.add_common_arguments(parser, one_process=one_process)


def load(args: argparse.Namespace) -> tuple[Config, nn.Module, DataLoader, int]:
    """Build the model with its pre-trained weights, and the training data.

    Returns:
        Config, model, training data loader, seed.

    Raises:
        ValueError: no scenes are asked for, or the config trains on nothing.
    """
    if args.num_images < 1:
        raise ValueError(f"--num-images must be positive, got {args.num_images}")
    cfg = _runner.load_config(args)
    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"config {args.config} has no train_dataloader; give the config of the fine-tuning, "
            "whose training pipeline pastes outliers"
        )
    choose_checkpoint(cfg, args.checkpoint)
    cfg.model.pop("distillation", None)
    _runner.allow_new_weights(cfg)
    _runner.verify_readable(cfg.load_from)
    runner = _runner.build_runner(cfg)
    runner.load_or_resume()
    from ood_seg.engine.hooks.checkpoint_guard import unwrap

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
