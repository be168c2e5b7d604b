"""Runs the demo: draws the data, trains, tests, and writes table and figure."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import itertools
import json
import logging
import os
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from ood_seg import config_files
from ood_seg.demo.data import DemoDataSize, write_demo_data
from ood_seg.demo.plan import (
    AFTER,
    BEFORE,
    FULL_PLAN,
    METHODS,
    PRETRAINING,
    TRAININGS,
    DemoPlan,
    Method,
    read_done,
    write_done,
)
from ood_seg.demo.progress import ProgressBars, Report
from ood_seg.demo.report import draw_figure, results_table, terminal_table
from ood_seg.engine.testing import test
from ood_seg.engine.training import train
from ood_seg.io.files import write_text
from ood_seg.io.json_files import plain, write_json

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from rich.console import Console

FOLDER_VARIABLE = "OOD_SEG_DEMO"
_TITLES = {
    "pretrain": "train on the known classes",
    "energy_oe": "fine-tune, EnergyOE",
    "balanced_energy": "fine-tune, balanced EnergyOE",
    "branch": "fine-tune, the same in a branch",
}


def run_demo(
    out: str | Path, plan: DemoPlan = FULL_PLAN, seed: int = 0, console: Console | None = None
) -> dict[str, dict[str, float]]:
    """Run every step that is not finished, print the table, and write all results.

    ```
    out/data/           drawn datasets, see `write_demo_data`
    out/STEP/           checkpoints and logs of a training
    out/tests/METHOD/   metrics and score maps of a test
    out/table.md  out/figure.png  out/strip.png  out/results.json  out/messages.log
    ```

    Args:
        out: folder of all that is written.
        plan: how much is drawn and how long is trained.
        seed: of the drawings and trainings.
        console: where progress and table are printed; None: standard output.

    Returns:
        Metrics in percent (keys `SET/METRIC`) by `Method.folder`.

    Raises:
        ValueError: a negative seed, or `out/data` holds something that is not demo data.
    """
    from rich.console import Console

    if seed < 0:
        raise ValueError(f"seed must be zero or more, got {seed}")
    out, started, console = Path(out), time.monotonic(), console or Console(file=sys.stdout)
    results, seconds = _run_steps(out, plan, seed, console)
    table = results_table(results)
    write_text(out / "table.md", table.to_markdown())
    before, after = _test_folder(out, BEFORE), _test_folder(out, AFTER)
    draw_figure(out / "figure.png", out / "data", before, after)
    content = {**plan.fingerprint(seed), "results": results, "seconds": seconds}
    write_json(out / "results.json", content)
    console.print(terminal_table(table), table.note, sep="\n")
    console.print(f"Figure: {out / 'figure.png'}   Table: {out / 'table.md'}")
    console.print(f"Done in {time.monotonic() - started:.0f} s.")
    return results


def _run_steps(out: Path, plan: DemoPlan, seed: int, console: Console) -> tuple[dict, dict]:
    """Draw, train and test; returns the metrics by test folder and the seconds of each step."""
    bars, results = ProgressBars(console), {}
    out.mkdir(parents=True, exist_ok=True)
    # Whatever the libraries print goes to a file, so that the bars stay intact.
    with (
        (out / "messages.log").open("a", encoding="utf-8") as messages,
        bars.progress,
        contextlib.redirect_stdout(messages),
    ):
        with bars.step("draw", "draw scenes and objects", plan.data.images) as report:
            drawn = itertools.count(1)
            advance = lambda: report(next(drawn), 0, "")  # noqa: E731
            write_demo_data(out / "data", seed, plan.data, advance=advance)
        for step, title in _TITLES.items():
            with bars.step(step, title) as report:
                train_step(step, out, plan, seed, report)
        tested = plan.data.road_anomaly + plan.data.fishyscapes + plan.data.val
        for method in METHODS:
            title = f"test {method.name}, {method.score_name}"
            with bars.step(f"test {method.folder}", title, tested) as report:
                results[method.folder] = test_step(method, out, plan, seed, report)
    return results, bars.seconds


class ProgressHook(Hook):
    """Reports each training iteration or test image.

    Args:
        report: called with the steps done, how many there are (0: not known), and a note.
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
    cfg = copy.deepcopy(_read_config(step, out))
    cfg.randomness = {"seed": seed}
    # The tests afterwards measure closed-set quality and scores.
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    iterations = plan.iterations(step)
    if iterations is not None:
        set_iterations(cfg, iterations)
    _fit_to_size(cfg.train_dataloader.dataset.dataset.pipeline, plan.data)
    for hook in cfg.custom_hooks:
        if hook.type == "OutlierPriorHook" and plan.prior_images is not None:
            hook.num_images = plan.prior_images
    if step != PRETRAINING:
        cfg.load_from = str(checkpoint_path(PRETRAINING, out, plan))
    return cfg


def set_iterations(cfg: Config, iterations: int) -> None:
    """Change the length of a training; schedules that lasted to its end still do."""
    for scheduler in cfg.param_scheduler:
        if scheduler.end == cfg.train_cfg.max_iters:
            scheduler.end = iterations
    cfg.train_cfg.max_iters = iterations


def _fit_to_size(pipeline: list[dict], size: DemoDataSize) -> None:
    """Scale crops and pasted objects, which the configs state for scenes 160 pixels high."""
    for transform in pipeline:
        if transform["type"] == "RandomResize":
            transform["scale"] = (size.width, size.height)
        elif transform["type"] == "RandomCrop":
            transform["crop_size"] = (size.height, size.height)
        elif transform["type"] == "PasteOutliers":
            edges = (round(edge * size.height / 160) for edge in transform["size_range"])
            transform["size_range"] = tuple(edges)


def checkpoint_path(step: str, out: Path, plan: DemoPlan) -> Path:
    """Where a training step leaves its last weights."""
    iterations = plan.iterations(step) or _read_config(step, out).train_cfg.max_iters
    return out / step / f"iter_{iterations}.pth"


def train_step(step: str, out: Path, plan: DemoPlan, seed: int, report: Report) -> None:
    """Run a training unless it is finished."""
    fingerprint = _fingerprint(step, out, plan, seed)
    if read_done(out / step, fingerprint) is None:
        cfg = _in_folder(load_demo_config(step, out, plan, seed), out / step)
        train(cfg, hooks=[ProgressHook(report)])
        write_done(out / step, fingerprint, {})


def test_step(method: Method, out: Path, plan: DemoPlan, seed: int, report: Report) -> dict:
    """Test the weights of a method on all datasets unless that is done.

    Returns:
        The metrics in percent, keys `SET/METRIC`.
    """
    folder = _test_folder(out, method)
    fingerprint = {**_fingerprint(method.step, out, plan, seed), "score": method.score}
    metrics = read_done(folder, fingerprint)
    if metrics is None:
        cfg = _in_folder(load_demo_config(method.step, out, plan, seed), folder)
        cfg.model.energy_head.score = {"type": method.score}
        cfg.custom_hooks = []
        cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = cfg.param_scheduler = None
        checkpoint = checkpoint_path(method.step, out, plan)
        sets = test(cfg, checkpoint, out=folder / "scores", hooks=[ProgressHook(report)])["sets"]
        rows = ((name, row["metrics"].items()) for name, row in sets.items())
        metrics = {f"{name}/{key}": value for name, row in rows for key, value in row}
        write_done(folder, fingerprint, plain(metrics))
    return metrics


def _test_folder(out: Path, method: Method) -> Path:
    return out / "tests" / method.folder


def _in_folder(cfg: Config, folder: Path) -> Config:
    """A config whose run begins in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    cfg.work_dir = str(folder)
    # mmengine keeps loggers and visualizers by name; each run gets new ones.
    cfg.experiment_name = cfg.visualizer.name = f"{folder.name}_{uuid.uuid4().hex[:8]}"
    return cfg


def _fingerprint(step: str, out: Path, plan: DemoPlan, seed: int) -> dict:
    """What the weights of a step depend on, the pre-training included."""
    steps = dict.fromkeys((PRETRAINING, step))
    configs = [load_demo_config(name, out, plan, seed).to_dict() for name in steps]
    text = json.dumps(plain(configs), sort_keys=True)
    return {**plan.fingerprint(seed), "configs": hashlib.sha256(text.encode()).hexdigest()}


@functools.lru_cache(maxsize=2 * len(TRAININGS))
def _read_config(step: str, out: Path) -> Config:
    """The shipped config of a training step with its folders below `out`; not to be changed."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = out.as_posix()
    # mmengine announces every variable that it fills in.
    logging.disable(logging.INFO)
    try:
        cfg = config_files.load_config(TRAININGS[step])
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before
    # Formatting the copies in logs and checkpoints would take longer than a short training.
    return type(cfg)(cfg.to_dict(), filename=cfg.filename, format_python_code=False)
