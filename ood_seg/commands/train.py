"""Train or fine-tune a model from a config; takes what mmseg's tools/train.py takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _runner

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg train`."""
    parser.add_argument("config", help=_runner.CONFIG_HELP)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in the work dir; without one, start as usual",
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument(
        "--amp-dtype",
        choices=["float16", "bfloat16"],
        help="number type of --amp (which this implies; default float16, with loss scaling)",
    )
    _runner.add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say."""
    from mmengine.logging import print_log

    cfg = _runner.load_config(args)
    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"config {args.config} has no train_dataloader, so there is nothing to train on; "
            "`ood-seg configs` lists those of the trainings, by method"
        )
    if args.amp or args.amp_dtype:
        require_accelerator()
        enable_amp(cfg, dtype=args.amp_dtype)
    _runner.allow_new_weights(cfg)
    _runner.leave_out_logits(cfg)
    note = decide_start(cfg, resume=args.resume)
    _runner.verify_readable(cfg.get("load_from"))
    runner = _runner.build_runner(cfg)
    print_log(note, logger="current")
    runner.train()
    return 0


def require_accelerator() -> None:
    """Refuse mixed precision where mmengine has no device for it.

    Raises:
        ValueError: this machine has only a CPU.
    """
    from mmengine.device import get_device

    if get_device() in ("cpu", "mps"):
        raise ValueError(
            f"--amp needs a GPU that mmengine trains in mixed precision on, found {get_device()}; "
            "leave --amp out"
        )


def enable_amp(cfg: Config, *, dtype: str | None = None) -> None:
    """Switch the optimizer wrapper to mixed precision; the outlier losses stay in float32.

    Args:
        cfg: the config.
        dtype: `float16` or `bfloat16`; None leaves what the config says, else float16.

    Raises:
        ValueError: the config has a wrapper of its own.
    """
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if dtype is not None:
        cfg.optim_wrapper.dtype = dtype
    if kind == "AmpOptimWrapper":
        return
    if kind != "OptimWrapper":
        raise ValueError(
            f"--amp replaces the wrapper OptimWrapper, but this config has {kind!r}; set "
            "mixed precision in the config"
        )
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.loss_scale = "dynamic"


def decide_start(cfg: Config, *, resume: bool) -> str:
    """Set `resume` and `load_from` of the config so that training starts where it should.

    With both set, mmengine resumes from `load_from`, the pre-trained file, and loses the run
    in the work dir. Here the last checkpoint of the work dir comes first.

    Returns:
        One line that says where the training starts.
    """
    last = last_checkpoint(Path(cfg.work_dir)) if resume else None
    cfg.resume = last is not None
    if last is not None:
        cfg.load_from = str(last)
        return f"resume from {last}"
    source = cfg.get("load_from")
    start = f"start from {source}" if source else "start from the initial weights of the config"
    return f"nothing to resume in {cfg.work_dir}: {start}" if resume else start


def last_checkpoint(work_dir: Path) -> Path | None:
    """Return the checkpoint that `last_checkpoint` in a work dir names; None without one.

    Raises:
        FileNotFoundError: the file names a checkpoint that is gone.
    """
    pointer = work_dir / "last_checkpoint"
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(encoding="utf-8").strip())
    # A work dir may have been moved or copied since: then the file lies beside its pointer.
    for path in (work_dir / named.name, named):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{pointer} names {named}, which does not exist; delete {pointer} to start anew"
    )
