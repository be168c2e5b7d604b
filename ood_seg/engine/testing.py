"""Evaluation of a checkpoint on the test sets of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ood_seg.classification.metrics import ImageAccuracyMetric
from ood_seg.classification.protocols import get_image_protocol
from ood_seg.engine.loops import AVERAGE
from ood_seg.engine.runner import (
    build_runner,
    leave_out_logits,
    load_config,
    set_checkpoint,
    verify_readable,
)
from ood_seg.engine.test_sets import (
    add_branch_iou,
    is_image_level,
    keep_first_images,
    keep_sets,
    metrics_of,
    named_sets,
    save_predictions,
    set_refinement,
    use_tta,
)
from ood_seg.io.json_files import write_json
from ood_seg.io.map_origins import MapOrigin
from ood_seg.io.provenance import checkpoint_sha256, git_commit, versions
from ood_seg.metrics.protocols import get_protocol
from ood_seg.refinement import Refinement

RESULT_FILE = "metrics.json"


def test(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    sets: Sequence[str] = (),
    num_images: int | None = None,
    tta: bool = False,
    branch_iou: bool = False,
    out: str | Path | None = None,
    refine: Any = None,
    show: bool = False,
    show_dir: str | Path | None = None,
    wait_time: float = 2.0,
    hooks: Sequence[Hook] = (),
) -> dict[str, Any]:
    """Evaluate a checkpoint, as `ood-seg test` does, and write `WORK_DIR/metrics.json`.

    Args:
        config: path of a file, name of a shipped config, or a config, such as `load_config` of
            `engine.runner` returns with other options, work dir, seed or launcher.
        checkpoint: file; None: the config's `load_from`.
        sets: names of the test sets to evaluate on; empty: all.
        num_images: only the first ones of each set; None: all.
        tta: test-time augmentation by the config's `tta_pipeline`.
        branch_iou: closed-set metrics also of the labels that an anomaly branch would give, as
            `branch/mIoU`.
        out: folder to save the score maps in, as `SET/IMAGE.npy`, with their model in
            `SET/provenance.json`.
        refine: refinement of the score maps before they are measured and saved, see
            `refinement.Refinement.of`; labels are those predicted.
        show: show each prediction in a window.
        show_dir: folder to save a figure of each prediction in.
        wait_time: seconds that a window stays.
        hooks: more mmengine hooks.

    Returns:
        What the file holds: `sets` (by name: `metrics` in percent, `images`, `protocol`, ...; of
        image-level sets `intervals`), `classes` (of an image-level config), `average` (the mean
        over the outlier sets of an image-level config, else empty), `config`, `checkpoint`,
        `checkpoint_sha256`, `seed`, `test_time_augmentation`, `git_commit`, `versions`.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: no checkpoint, one that is damaged, not finite or of another model; an unknown
            test set; maps of another score or model in `out`; or an option that the config does
            not provide for.
    """
    cfg = load_config(config)
    set_checkpoint(cfg, checkpoint)
    # The teacher is used in training only, and would load a second checkpoint.
    cfg.model.pop("distillation", None)
    leave_out_logits(cfg)
    if sets:
        keep_sets(cfg, sets)
    if num_images is not None:
        if is_image_level(cfg):
            raise ValueError("the number of images can be limited for pixel-level sets only")
        for loader, _ in named_sets(cfg).values():
            keep_first_images(loader, num_images)
    if branch_iou:
        add_branch_iou(cfg)
    if tta:
        use_tta(cfg)
    steps = set_refinement(cfg, refine) if refine is not None else None
    saved = save_predictions(cfg, Path(out)) if out else []
    if show or show_dir:
        draw_predictions(cfg, show=show, wait_time=wait_time, folder=show_dir)
    verify_readable(cfg.load_from)
    recorder = SetRecorder()
    runner = build_runner(cfg, recorder, *hooks)
    if saved and is_main_process():
        origin = _map_origin(cfg, runner, steps)
        for folder in saved:  # maps of images that are not tested now would stay
            origin.record(folder, remedy="give another --out, or remove that folder")
    results = runner.test()
    rows = rows_by_set(results, list(named_sets(cfg)))
    average = {
        key.removeprefix(f"{AVERAGE}/"): value
        for key, value in results.items()
        if key.startswith(f"{AVERAGE}/")
    }
    content = {**_described(cfg, runner, rows, recorder, tta=tta), "average": average}
    if is_main_process():
        write_json(Path(runner.work_dir) / RESULT_FILE, content)
    return content


def rows_by_set(results: Mapping[str, float], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return flat results (`NAME/metric`) as one row per test set.

    With a single set, keys that do not begin with its name belong to it.
    """
    rows: dict[str, dict[str, float]] = {name: {} for name in names}
    for key, value in results.items():
        name, _, metric = key.partition("/")
        if name in rows and metric:
            rows[name][metric] = value
        elif len(names) == 1:
            rows[names[0]][key] = value
    return rows


def draw_predictions(
    cfg: Config, *, show: bool, wait_time: float, folder: str | Path | None
) -> None:
    """Switch on the visualization hook of the config.

    Raises:
        ValueError: the config has none.
    """
    hook = cfg.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise ValueError(
            "--show and --show-dir need a visualization hook in the config's default_hooks: "
            "visualization=dict(type='AnomalyVisualizationHook')"
        )
    hook["draw"] = True
    if show:
        hook["show"] = True
        hook["wait_time"] = wait_time
    if folder:
        hook["out_dir"] = str(folder)


class SetRecorder(Hook):
    """Records the size and the evaluation mode of each test set while the loop has it open.

    Attributes:
        images: number of images by set name; a nameless single set is `test`.
        intervals: of the metrics of image-level sets, by set name.
        classes: names of the known classes of an image-level config.
        modes: 'exact' or 'streaming' by set name, where anomaly metrics were computed.
    """

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
        self.modes: dict[str, str] = {}
        self.intervals: dict[str, dict[str, list[float]]] = {}
        self.classes: list[str] | None = None

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Record the set that was just tested."""
        loop = runner.test_loop
        name = getattr(loop, "current_set", "test")
        self.images[name] = len(loop.dataloader.dataset)
        for metric in loop.evaluator.metrics:
            if getattr(metric, "mode_used", None):
                self.modes[name] = metric.mode_used
            if isinstance(metric, ImageAccuracyMetric):
                self.classes = [str(one) for one in loop.dataloader.dataset.metainfo["classes"]]
            if getattr(metric, "intervals", None):
                self.intervals[name] = metric.intervals


def protocol_of(evaluator: Any) -> str | None:
    """Return name and description of an evaluator's anomaly protocol; None without one."""
    for metric in metrics_of(evaluator):
        kinds: dict[str, Callable[[str], Any]] = {
            "AnomalyMetric": get_protocol,
            "ImageAnomalyMetric": get_image_protocol,
        }
        if metric.get("type") in kinds:
            protocol = kinds[metric["type"]](metric.get("protocol", "pooled"))
            return f"{protocol.name}: {protocol.description}"
    return None


def _map_origin(cfg: Config, runner: Runner, refinement: Refinement | None) -> MapOrigin:
    """The model and score of the saved maps."""
    model: Any = runner.model
    while hasattr(model, "module"):  # of data-parallel and test-time augmentation wrappers
        model = model.module
    score = type(model.energy_head.score).__name__
    return MapOrigin(
        score if refinement is None else refinement.score_name(score),
        str(cfg.load_from),
        checkpoint_sha256(cfg.load_from),
        cfg.filename,
        None if refinement is None else refinement.record(),
    )


def _described(
    cfg: Config,
    runner: Runner,
    rows: Mapping[str, Mapping[str, float]],
    recorder: SetRecorder,
    *,
    tta: bool,
) -> dict[str, Any]:
    """The results with all that is needed to reproduce them."""
    sets = {}
    for name, (loader, evaluator) in named_sets(cfg).items():
        dataset = loader["dataset"]
        sets[name] = {
            "metrics": rows.get(name, {}),
            "images": recorder.images.get(name),
            "dataset": dataset.get("type"),
            "data_root": dataset.get("data_root"),
            "evaluator": evaluator,
            "protocol": protocol_of(evaluator),
            "mode": recorder.modes.get(name),
            "intervals": recorder.intervals.get(name),
        }
    return {
        "sets": sets,
        **({"classes": recorder.classes} if recorder.classes else {}),
        "config": cfg.filename,
        "checkpoint": str(cfg.load_from),
        "checkpoint_sha256": checkpoint_sha256(cfg.load_from),
        "test_time_augmentation": tta,
        "seed": runner.seed,
        "git_commit": git_commit(),
        "versions": versions(),
    }
