"""From a config to an mmengine runner: work dir, seed, distributed processes, guarded loading."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner, set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from mmseg.registry import RUNNERS
from torch.utils.data import DataLoader

from ood_seg import config_files
from ood_seg.checkpoints import is_local, load_weights
from ood_seg.engine.hooks.checkpoint_guard import CheckpointGuard
from ood_seg.engine.test_sets import ignore_what_the_model_ignores
from ood_seg.startup import quiet_terminal, report_log_failure_once

# Launcher -> the program that starts the processes, and a variable that it sets.
LAUNCHERS = {
    "pytorch": ("torchrun", "RANK"),
    "slurm": ("srun", "SLURM_PROCID"),
    "mpi": ("mpirun", "OMPI_COMM_WORLD_LOCAL_RANK"),
}

# Number of runs of this process that started in a second.
_starts: Counter[str] = Counter()


def load_config(
    config: str | Path | Config,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    *,
    work_dir: str | Path | None = None,
    seed: int | None = None,
    launcher: str | None = None,
) -> Config:
    """Return the config of a run, for `train`, `test`, `fit` and `build_runner`.

    Args:
        config: path of a file, name of a shipped config, or a config, which is copied.
        options: values that replace those of the config, see `config_files.load_config`.
        work_dir: folder of logs, checkpoints and results; None: the config's, else
            `work_dirs/NAME` of the config.
        seed: random seed; None: the config's.
        launcher: what started the processes of a distributed run: `pytorch`, `slurm` or `mpi`;
            `none` for one process; None: the config's, else `none`.

    Raises:
        FileNotFoundError: there is no such config.
        ValueError: an ambiguous name, a malformed option, or a launcher that did not start this
            process.
    """
    if launcher is not None:
        check_launched(launcher)
    cfg = config_files.load_config(config, options)
    cfg.launcher = launcher or cfg.get("launcher", "none")
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(cfg.filename or "run").stem)
    if seed is not None:
        # Assigned whole: what `Config.setdefault` returns is no part of the config.
        cfg.randomness = {**(cfg.get("randomness") or {}), "seed": seed}
    return cfg


def check_launched(launcher: str) -> None:
    """Raise unless this process was started by the launcher.

    Raises:
        ValueError: an unknown launcher, or the variable that it sets is absent.
    """
    if launcher == "none":
        return
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher must be none, {', '.join(LAUNCHERS)}, got {launcher!r}")
    program, variable = LAUNCHERS[launcher]
    if variable not in os.environ:
        raise ValueError(
            f"launcher {launcher} expects processes started by {program}, but {variable} is not "
            "set; leave the launcher out to run in one process, or see docs/scaling.md"
        )


def is_first_process(cfg: Config) -> bool:
    """Whether this process writes the files of a run, as seen before the processes are joined."""
    launcher = cfg.get("launcher", "none")
    if launcher == "none":
        return True
    variable = LAUNCHERS[launcher][1].replace("LOCAL_RANK", "RANK")  # of all nodes together
    return int(os.environ[variable]) == 0


def build_runner(cfg: Config, *hooks: Hook) -> Runner:
    """Build the runner of a config, with the hook that refuses another model's checkpoint.

    Args:
        cfg: of `load_config`.
        hooks: more hooks to register.
    """
    allow_processes_without_gpu(cfg)
    ignore_what_the_model_ignores(cfg)
    runner = QuietRunner.from_cfg(cfg) if "runner_type" not in cfg else RUNNERS.build(cfg)
    origin = str(cfg.get("load_from") or "the checkpoint")
    for hook in (CheckpointGuard(origin, allowed=cfg.get("allowed_key_mismatch", ())), *hooks):
        runner.register_hook(hook)
    return runner


class QuietRunner(Runner):
    """mmengine's runner; the environment, config and hook listings go to the log file only."""

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment; a second run that starts in the same second is numbered.

        Loggers and message hubs are known by the name and second of their run, so that it would
        write to the log of the first.
        """
        super().setup_env(env_cfg)
        _starts[self._timestamp] += 1
        if _starts[self._timestamp] > 1:
            self._timestamp += f"_{_starts[self._timestamp]}"

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger; keep listings off the terminal, and tracebacks on a full disk."""
        logger = super().build_logger(*args, **kwargs)
        quiet_terminal(logger)
        report_log_failure_once(logger)
        return logger

    def load_checkpoint(self, *args, **kwargs) -> dict[str, Any]:
        """Load a checkpoint; what mmengine prints on keys that may differ is left out.

        `CheckpointGuard` refuses all other differences, and logs the new weights.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            return super().load_checkpoint(*args, **kwargs)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a loader; options that concern its workers are left out where it has none."""
        if isinstance(dataloader, dict) and not dataloader.get("num_workers"):
            of_workers = ("persistent_workers", "prefetch_factor")
            dataloader = {key: one for key, one in dataloader.items() if key not in of_workers}
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)


def set_up_process(cfg: Config) -> int:
    """Do for a run without a runner what a runner does first: join the other processes, seed.

    Returns:
        The random seed, the same in all processes.
    """
    allow_processes_without_gpu(cfg)
    environment = cfg.get("env_cfg") or {}
    distributed = cfg.get("launcher", "none") != "none"
    set_multi_processing(**environment.get("mp_cfg", {}), distributed=distributed)
    if distributed and not is_distributed():
        init_dist(cfg.launcher, **environment.get("dist_cfg", {}))
    return set_random_seed(**{"seed": None, **(cfg.get("randomness") or {})})


def allow_processes_without_gpu(cfg: Config) -> None:
    """Let the launcher `pytorch` work on the CPU, with gloo; mmengine alone asks for CUDA.

    Changes nothing for other launchers and where there is an accelerator.
    """
    if cfg.get("launcher") != "pytorch" or get_device() != "cpu":
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    default = {"type": "MMDistributedDataParallel", "broadcast_buffers": False}
    if "find_unused_parameters" in cfg:
        default["find_unused_parameters"] = cfg.find_unused_parameters
    wrapper = {**default, **(cfg.get("model_wrapper_cfg") or {}), "device_ids": None}
    cfg.model_wrapper_cfg = wrapper


def set_checkpoint(cfg: Config, checkpoint: str | Path | None) -> None:
    """Set the config's `load_from` to a checkpoint, and never resume.

    Args:
        cfg: the config; changed.
        checkpoint: None: the config's own `load_from`.

    Raises:
        ValueError: neither names one.
    """
    cfg.load_from = str(checkpoint) if checkpoint else cfg.get("load_from")
    cfg.resume = False
    if not cfg.load_from:
        raise ValueError(
            "no checkpoint: the config has no `load_from`; "
            "give the file as the second argument, after the config"
        )


def verify_readable(source: str | None) -> None:
    """Load a local checkpoint once, so that a bad one stops the run in its first second.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, see `checkpoints.load_weights`.
    """
    if source and is_local(source):
        load_weights(source)


def allow_new_weights(cfg: Config) -> None:
    """Let the checkpoint that a training starts from lack what is new beside it.

    That is a learned head, and what the config lists in `new_weights`. A trained checkpoint must
    hold both, so testing and inference do not call this.
    """
    new = list(cfg.get("new_weights", ()))
    if cfg.model.get("learned_head"):
        new.append(r"^learned_head\.")
    cfg.allowed_key_mismatch = [*cfg.get("allowed_key_mismatch", ()), *new]


def leave_out_logits(cfg: Config) -> None:
    """Leave the full-size logits out of predictions; no metric of this package reads them.

    A config that sets `keep_logits` itself is left as it is.
    """
    if cfg.model.get("type") == "OODEncoderDecoder":
        cfg.model.setdefault("keep_logits", False)
