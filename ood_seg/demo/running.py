"""Runs the trainings and tests of the demo with mmengine, under a progress bar."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ood_seg.config_files import resolve_config
from ood_seg.demo.plan import PRETRAINING, TRAININGS, DemoPlan, Method, read_done, write_done
from ood_seg.io.json_files import plain

FOLDER_VARIABLE = "OOD_SEG_DEMO"
Report = Callable[[int, int, str], None]


class FileLogRunner(Runner):
    """mmengine's runner, whose log goes to its file alone."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger and take away what writes to the terminal."""
        logger = super().build_logger(*args, **kwargs)
        for handler in list(logger.handlers):
            if not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
        return logger


class ProgressHook(Hook):
    """Reports each training iteration or test image.

    Args:
        report: called with steps done, steps in all (0: not known), and a note.
    """

    priority = "LOWEST"

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tested = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Report an iteration with its loss."""
        loss = (outputs or {}).get("loss")
        note = "" if loss is None else f"loss {loss.item():.2f}"
        self._report(runner.iter + 1, runner.max_iters, note)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Report a test image."""
        self._tested += 1
        self._report(self._tested, 0, runner.test_loop.current_set)


def load_demo_config(step: str, out: Path, plan: DemoPlan, seed: int) -> Config:
    """The config of a training step, with its folders below `out` and the sizes of the plan."""
    cfg = _read_config(step, out)
    cfg.randomness = {"seed": seed}
    # Closed-set quality and scores are measured by the tests afterwards.
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if plan.batch_size is not None:
        cfg.train_dataloader.batch_size = plan.batch_size
    if plan.iterations(step) is not None:
        set_iterations(cfg, plan.iterations(step))
    for hook in cfg.custom_hooks:
        if hook.type == "OutlierPriorHook" and plan.prior_images is not None:
            hook.num_images = plan.prior_images
    if step != PRETRAINING:
        cfg.load_from = str(checkpoint_path(PRETRAINING, out, plan, seed))
        if cfg.model.get("distillation"):
            cfg.model.distillation.checkpoint = cfg.load_from
    return cfg


def set_iterations(cfg: Config, iterations: int) -> None:
    """Change the length of a training; schedules that lasted to its end still do."""
    for scheduler in cfg.param_scheduler:
        if scheduler.end == cfg.train_cfg.max_iters:
            scheduler.end = iterations
    cfg.train_cfg.max_iters = iterations


def checkpoint_path(step: str, out: Path, plan: DemoPlan, seed: int) -> Path:
    """Where a training step leaves its last weights."""
    cfg = _read_config(step, out)
    iterations = plan.iterations(step) or cfg.train_cfg.max_iters
    return out / step / f"iter_{iterations}.pth"


def train_step(step: str, out: Path, plan: DemoPlan, seed: int, report: Report) -> None:
    """Run a training unless it is finished."""
    cfg = load_demo_config(step, out, plan, seed)
    fingerprint = _fingerprint(step, out, plan, seed)
    if read_done(out / step, fingerprint) is not None:
        return
    shutil.rmtree(out / step, ignore_errors=True)
    _runner(cfg, out / step, report).train()
    write_done(out / step, fingerprint, {})


def test_step(method: Method, out: Path, plan: DemoPlan, seed: int, report: Report) -> dict:
    """Test the weights of a method on all sets unless that is done.

    Returns:
        The metrics in percent, keys `SET/METRIC`.
    """
    folder = out / "tests" / method.folder
    fingerprint = {**_fingerprint(method.step, out, plan, seed), "score": method.score}
    done = read_done(folder, fingerprint)
    if done is not None:
        return done
    shutil.rmtree(folder, ignore_errors=True)
    cfg = load_demo_config(method.step, out, plan, seed)
    cfg.load_from = str(checkpoint_path(method.step, out, plan, seed))
    cfg.model.pop("distillation", None)
    cfg.model.energy_head.score = {"type": method.score}
    for name, metrics in cfg.test_evaluator.items():
        for metric in metrics:
            if metric.type == "AnomalyMetric":
                metric.output_dir = str(scores_folder(method, out, name))
    cfg.custom_hooks = []
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = cfg.param_scheduler = None
    metrics = plain(_runner(cfg, folder, report).test())
    write_done(folder, fingerprint, metrics)
    return metrics


def scores_folder(method: Method, out: Path, set_name: str) -> Path:
    """Where a test leaves the score maps of a set."""
    return out / "tests" / method.folder / "scores" / set_name


def _runner(cfg: Config, folder: Path, report: Report) -> Runner:
    cfg.work_dir = str(folder)
    # mmengine keeps loggers and visualizers by name; each run gets new ones.
    cfg.experiment_name = f"{folder.name}_{uuid.uuid4().hex[:8]}"
    cfg.visualizer.name = cfg.experiment_name
    runner = FileLogRunner.from_cfg(cfg)
    runner.register_hook(ProgressHook(report))
    return runner


def _fingerprint(step: str, out: Path, plan: DemoPlan, seed: int) -> dict:
    """What the weights of a step depend on, the pre-training included."""
    names = dict.fromkeys((PRETRAINING, step))
    texts = [load_demo_config(name, out, plan, seed).pretty_text for name in names]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return {**plan.fingerprint(seed), "configs": digest}


def _read_config(step: str, out: Path) -> Config:
    """The config of a training step as it is shipped, its folders below `out`."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = out.as_posix()
    # mmengine announces every variable that it fills in.
    logging.disable(logging.INFO)
    try:
        return Config.fromfile(resolve_config(TRAININGS[step]))
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before
