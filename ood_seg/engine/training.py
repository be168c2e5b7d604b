"""Training or fine-tuning of a model from a config."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ood_seg.engine.hooks.resumed_schedule import Choice, ResumedSchedule
from ood_seg.engine.loggers import add_loggers
from ood_seg.engine.runner import (
    allow_new_weights,
    build_runner,
    is_first_process,
    leave_out_logits,
    load_config,
    verify_readable,
)
from ood_seg.io.files import claimed, remove_unfinished
from ood_seg.outlier_priors import find_prior

LOCK = ".training.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def train(
    config: str | Path | Config,
    *,
    resume: bool = False,
    resume_schedule: Choice | None = None,
    amp: bool = False,
    amp_dtype: str | None = None,
    loggers: Sequence[str] = (),
    prior_images: int | None = None,
    prior_file: str | Path | None = None,
    hooks: Sequence[Hook] = (),
) -> Runner:
    """Train a model, as `ood-seg train` does.

    Logs and checkpoints are written to the config's `work_dir`.

    Args:
        config: path of a file, name of a shipped config, or a config, such as `load_config` of
            `engine.runner` returns with other options, work dir, seed or launcher.
        resume: continue from the last checkpoint in the work dir, if there is one.
        resume_schedule: which learning-rate schedule a resumed run follows where the two differ:
            `config`, the config's, from the iteration on that was reached; or `checkpoint`, that
            of the interrupted run, which keeps its last learning rate after its end. None: a
            difference is an error.
        amp: automatic mixed precision.
        amp_dtype: `float16` or `bfloat16`, which implies `amp`; None: the config's, else float16.
        loggers: `tensorboard`, `mlflow`, `wandb`: scalars and images of the validation go there
            too, see `engine.loggers`.
        prior_images: number of pasted scenes on which the outlier prior of the balanced losses is
            measured; None: as the config's `OutlierPriorHook` has it.
        prior_file: JSON file of an earlier measurement, or name of a shipped prior, in place of a
            measurement.
        hooks: more mmengine hooks.

    Returns:
        The runner after the last iteration; its attributes `model`, `iter` and `work_dir` are the
        trained model, the number of iterations and the folder of the run.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: the config has nothing to train on, mixed precision is not possible, another
            run is training in the work dir, the checkpoint to start from is damaged or belongs to
            another model, or its learning-rate schedule differs and none is chosen.
        OSError: logs or checkpoints cannot be written, as on a full disk.
    """
    cfg = load_config(config)
    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"config {cfg.filename} has no train_dataloader, so there is nothing to train on; "
            "`ood-seg configs` lists the configs of trainings by method"
        )
    if resume_schedule and not resume:
        raise ValueError(f"resume_schedule {resume_schedule!r} needs a run that is resumed")
    if amp or amp_dtype:
        require_accelerator()
        enable_amp(cfg, dtype=amp_dtype)
    add_loggers(cfg, loggers)
    set_prior_source(cfg, num_images=prior_images, source=prior_file)
    allow_new_weights(cfg)
    leave_out_logits(cfg)
    hooks = (ResumedSchedule(resume_schedule), *hooks)
    if not is_first_process(cfg):
        return _trained(cfg, resume, hooks)
    folder = Path(cfg.work_dir)
    with claimed(folder, lock=folder / LOCK):
        for name in ("*.pth", "last_checkpoint"):
            remove_unfinished(folder, name)
        try:
            return _trained(cfg, resume, hooks)
        except OSError as error:
            if error.errno not in _FULL or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(folder)) from error  # a log file


def _trained(cfg: Config, resume: bool, hooks: Sequence[Hook]) -> Runner:
    """The runner of a prepared config after training."""
    note = set_start(cfg, resume=resume)
    verify_readable(cfg.get("load_from"))
    runner = build_runner(cfg, *hooks)
    print_log(note, logger="current")
    runner.train()
    return runner


def set_prior_source(
    cfg: Config, *, num_images: int | None = None, source: str | Path | None = None
) -> None:
    """Set what the outlier prior of the balanced losses is measured on, or where it is read.

    Args:
        cfg: the config; changed.
        num_images: number of pasted scenes; None: the config's.
        source: JSON file of an earlier measurement, or name of a shipped prior; None: the config's.

    Raises:
        ValueError: both are given, the number is not positive, or the config has no
            `OutlierPriorHook`.
        FileNotFoundError: see `find_prior`.
    """
    if num_images is not None and source is not None:
        raise ValueError("--prior-images and --prior exclude each other: measure it or give it")
    if num_images is not None:
        if num_images < 1:
            raise ValueError(f"--prior-images must be positive, got {num_images}")
        options: dict[str, Any] = {"num_images": num_images, "source": None}
    elif source is not None:
        find_prior(source)  # before anything is built
        options = {"source": str(source)}
    else:
        return
    hooks = [one for one in cfg.get("custom_hooks") or [] if one.get("type") == "OutlierPriorHook"]
    if not hooks:
        raise ValueError(
            f"--prior-images and --prior apply to the prior of the balanced losses, but config "
            f"{cfg.filename} has no OutlierPriorHook in its custom_hooks"
        )
    for hook in hooks:
        hook.update(options)


def require_accelerator() -> None:
    """Refuse mixed precision where mmengine has no device for it.

    Raises:
        ValueError: this machine has only a CPU.
    """
    if get_device() in ("cpu", "mps"):
        raise ValueError(
            f"--amp needs a GPU that mmengine trains in mixed precision on, found {get_device()}; "
            "leave --amp out"
        )


def enable_amp(cfg: Config, *, dtype: str | None = None) -> None:
    """Switch the optimizer wrapper to mixed precision; the outlier losses stay in float32.

    Args:
        cfg: the config; changed.
        dtype: `float16` or `bfloat16`; None: the config's, else float16.

    Raises:
        ValueError: the config has another wrapper than `OptimWrapper`.
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


def set_start(cfg: Config, *, resume: bool) -> str:
    """Set `resume` and `load_from` of the config so that training starts where it should.

    With both set, mmengine resumes from `load_from`, the pre-trained file, and loses the run
    in the work dir. Here the last checkpoint of the work dir comes first.

    Returns:
        One line that names the start, for the log.
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
        FileNotFoundError: the file names a checkpoint that does not exist.
    """
    pointer = work_dir / "last_checkpoint"
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text(encoding="utf-8", errors="replace").strip())
    # A work dir may have been moved or copied since: then the file lies beside its pointer.
    for path in (work_dir / named.name, named):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{pointer} names {named}, which does not exist; delete {pointer} to start over"
    )
