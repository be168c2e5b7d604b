"""What `train` and `test` share: their common options, the config, the guarded runner."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.config_files import resolve_config
from ood_seg.startup import prepare

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

CONFIG_HELP = (
    "path of a config file, or the name of a shipped one (`ood-seg configs` lists them). "
    "A config is Python code and is executed: run only those you trust"
)
# Launcher -> what starts the processes, and a variable that it sets.
_LAUNCHERS = {
    "pytorch": ("torchrun", "RANK"),
    "slurm": ("srun", "SLURM_PROCID"),
    "mpi": ("mpirun", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a trained model is named by: its config, and its checkpoint if it is another."""
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument(
        "checkpoint", nargs="?", help="checkpoint file; without it the config's `load_from`"
    )


def add_common_arguments(parser: argparse.ArgumentParser, *, one_process: bool = False) -> None:
    """Add the options that mmseg's `train.py` and `test.py` have in common.

    Args:
        parser: of the command.
        one_process: the command cannot run in several, so that it has no `--launcher`.
    """
    prepare()
    from mmengine.config import DictAction

    class KeyValues(DictAction):
        def __call__(self, parser, namespace, values, option_string=None):
            wrong = [value for value in values if "=" not in value]
            if wrong:
                parser.error(
                    f"{option_string}: expected KEY=VALUE without spaces, got {wrong[0]!r}"
                )
            super().__call__(parser, namespace, values, option_string)

    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="folder of logs, checkpoints and results (default: the config's work_dir, else "
        "work_dirs/NAME of the config)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="values that replace those of the config, e.g. train_cfg.max_iters=20; lists as "
        'key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]"; no spaces',
    )
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: the config's)")
    if one_process:
        parser.set_defaults(launcher="none", local_rank=0)
        return
    parser.add_argument(
        "--launcher",
        choices=["none", *_LAUNCHERS],
        default="none",
        help="how the processes of a distributed run were started",
    )
    # `torch.distributed.launch` passes it with a dash, older versions with an underscore.
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=0, metavar="N", help="set by torch"
    )


def load_config(args: argparse.Namespace) -> Config:
    """Load the config that the arguments name and merge the common options into it."""
    from mmengine.config import Config

    _check_launched(args.launcher)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    path = resolve_config(args.config)
    cfg = Config.fromfile(path)
    # A config that names `custom_imports` of its own has replaced those of its base.
    import ood_seg.register  # noqa: F401

    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / path.stem)
    if args.seed is not None:
        # Assigned whole: what `Config.setdefault` returns is no part of the config.
        cfg.randomness = {**(cfg.get("randomness") or {}), "seed": args.seed}
    return cfg


def _check_launched(launcher: str) -> None:
    """Refuse `--launcher` where that launcher did not start this process."""
    program, variable = _LAUNCHERS.get(launcher, ("", ""))
    if variable and variable not in os.environ:
        raise ValueError(
            f"--launcher {launcher} is for processes that {program} starts, and this one was not "
            f"({variable} is not set); leave it out to run in one process, or see docs/scaling.md"
        )


def allow_processes_without_gpu(cfg: Config) -> None:
    """Let `--launcher pytorch` work on the CPU, with gloo; mmengine alone asks for CUDA.

    Changes nothing for other launchers and where there is an accelerator.
    """
    import torch
    from mmengine.device import get_device

    if cfg.launcher != "pytorch" or get_device() != "cpu":
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    default = {"type": "MMDistributedDataParallel", "broadcast_buffers": False}
    if "find_unused_parameters" in cfg:
        default["find_unused_parameters"] = cfg.find_unused_parameters
    wrapper = {**default, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}
    cfg.model_wrapper_cfg = wrapper


def verify_readable(source: str | None) -> None:
    """Load a local checkpoint once, so that a bad one stops the run in its first second."""
    from ood_seg.checkpoints import is_local, load_weights

    if source and is_local(source):
        load_weights(source)


def allow_new_weights(cfg: Config) -> None:
    """Let the checkpoint that a training starts from lack what the config calls `new_weights`.

    A trained checkpoint must hold them, so `test` and inference do not call this.
    """
    cfg.allowed_key_mismatch = [*cfg.get("allowed_key_mismatch", ()), *cfg.get("new_weights", ())]


def leave_out_logits(cfg: Config) -> None:
    """Let predictions hold no full-size logits, which no metric of ours reads.

    A config that says `keep_logits` itself is left as it is.
    """
    if cfg.model.get("type") == "OODEncoderDecoder":
        cfg.model.setdefault("keep_logits", False)


def build_runner(cfg: Config, *hooks: Hook) -> Runner:
    """Build the runner of a config, with the hook that refuses another model's checkpoint.

    Args:
        cfg: the config.
        hooks: more hooks to register.
    """
    from mmseg.registry import RUNNERS

    from ood_seg.commands._hooks import QuietRunner
    from ood_seg.engine.hooks.checkpoint_guard import CheckpointGuard

    allow_processes_without_gpu(cfg)
    runner = QuietRunner.from_cfg(cfg) if "runner_type" not in cfg else RUNNERS.build(cfg)
    origin = str(cfg.get("load_from") or "the checkpoint")
    for hook in (CheckpointGuard(origin, allowed=cfg.get("allowed_key_mismatch", ())), *hooks):
        runner.register_hook(hook)
    return runner


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes."""
    from mmengine.dist import is_main_process as is_main

    return is_main()
