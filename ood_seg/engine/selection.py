"""Selection of a checkpoint on some test sets, reported on others."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ood_seg.engine.runner import build_runner, leave_out_logits, load_config, verify_readable
from ood_seg.engine.test_sets import MULTI_SET_LOOP, keep_first_images, named_sets
from ood_seg.engine.testing import rows_by_set
from ood_seg.io.json_files import write_json
from ood_seg.io.provenance import git_commit
from ood_seg.spelling import did_you_mean

RESULT_FILE = "selection.json"
VALIDATION = "val"
# Halves in listing order, so that neighbouring frames of a drive stay together.
PARTS = ("first-half", "second-half")
_LOWER_IS_BETTER = "fpr"

Sets = dict[str, tuple[dict, Any]]
Rows = Mapping[str, Mapping[str, float]]


def select_checkpoint(
    config: str | Path | Config,
    checkpoints: Sequence[str | Path],
    *,
    select_on: Sequence[str],
    report_on: Sequence[str],
    metric: str = "anomaly/ap",
    num_images: int | None = None,
) -> dict[str, Any]:
    """Test all checkpoints on some sets and the best one on others; write `selection.json`.

    Args:
        config: path of a file, name of a shipped config, or a config.
        checkpoints: the candidates.
        select_on: sets to select on: `NAME`, `NAME:first-half` or `NAME:second-half`, where NAME
            is a test set or `val`, the config's validation set.
        report_on: sets whose metrics are reported; they share no image with `select_on`.
        metric: the mean of this metric over the sets decides; a false-positive rate is best low,
            any other metric high.
        num_images: only the first ones of each set, for a quick choice; None: all.

    Returns:
        What `WORK_DIR/selection.json` holds: `candidates` (each with `checkpoint`, `value` and
        `sets`), `chosen`, `report` (metrics in percent by set), and where they come from.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: an unreadable or repeated checkpoint, an unknown or shared set, or a metric
            that a set lacks or that is undefined there.
    """
    cfg = load_config(config)
    cfg.model.pop("distillation", None)
    leave_out_logits(cfg)
    names = [str(path) for path in checkpoints]
    if len({Path(name).resolve() for name in names}) < len(names):
        raise ValueError(f"each checkpoint once, got {', '.join(names)}")
    for name in names:
        verify_readable(name)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    selecting, reporting = find_sets(cfg, select_on), find_sets(cfg, report_on)
    if num_images is not None:
        for loader, _ in [*selecting.values(), *reporting.values()]:
            keep_first_images(loader, num_images)
    require_disjoint(selecting, reporting)
    trials = {name: _tested(cfg, name, selecting) for name in names}
    values = {name: mean_of(rows, metric) for name, rows in trials.items()}
    best = best_of(values, metric)
    content = {
        "config": str(cfg.filename),
        "metric": metric,
        "select_on": list(select_on),
        "report_on": list(report_on),
        "num_images": num_images,
        "candidates": [
            {"checkpoint": name, "value": values[name], "sets": trials[name]} for name in names
        ],
        "chosen": best,
        "report": _tested(cfg, best, reporting),
        "seed": cfg.get("randomness", {}).get("seed"),
        "git_commit": git_commit(),
    }
    if is_main_process():
        write_json(Path(cfg.work_dir) / RESULT_FILE, content)
    return content


def mean_of(rows: Rows, metric: str) -> float:
    """Return the mean of a metric over the sets.

    Raises:
        ValueError: a set does not have it, or it is NaN there.
    """
    for name, row in rows.items():
        if metric not in row:
            meant = did_you_mean(metric, row)
            raise ValueError(f"set {name} has no metric {metric!r}{meant}, only: {', '.join(row)}")
        if not math.isfinite(row[metric]):
            raise ValueError(f"{metric} of set {name} is undefined, so it cannot decide")
    return sum(row[metric] for row in rows.values()) / len(rows)


def best_of(values: Mapping[str, float], metric: str) -> str:
    """Return the best candidate; among equals the first."""
    lowest = metric.rpartition("/")[2].startswith(_LOWER_IS_BETTER)
    return (min if lowest else max)(values, key=values.__getitem__)


def _tested(cfg: Config, checkpoint: str, sets: Sets) -> Rows:
    """Metrics of one checkpoint, one row per set."""
    cfg = copy.deepcopy(cfg)
    cfg.load_from, cfg.resume = checkpoint, False
    cfg.test_dataloader = {name: loader for name, (loader, _) in sets.items()}
    cfg.test_evaluator = {name: evaluator for name, (_, evaluator) in sets.items()}
    cfg.test_cfg = {"type": MULTI_SET_LOOP}
    # mmengine keeps one logger for each name, and one candidate is tested twice.
    cfg.experiment_name = f"{_slug(checkpoint)}_on_{_slug('_'.join(sets))}"
    return rows_by_set(build_runner(cfg).test(), list(sets))


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text)[-80:]


def find_sets(cfg: Config, specs: Sequence[str]) -> Sets:
    """Return data loader and evaluator configs of sets and halves of sets.

    Args:
        cfg: the config.
        specs: see `select_checkpoint`.

    Raises:
        ValueError: unknown set or part, the same one twice, or a set that cannot be halved.
    """
    known = dict(named_sets(cfg))
    if cfg.get("val_dataloader") and cfg.get("val_evaluator"):
        known.setdefault(VALIDATION, (cfg.val_dataloader, cfg.val_evaluator))
    if len(set(specs)) < len(specs):
        raise ValueError(f"each set once, got {', '.join(specs)}")
    found = {}
    for spec in specs:
        name, _, part = spec.partition(":")
        if name not in known:
            meant = did_you_mean(name, known)
            raise ValueError(f"no set {name!r}{meant}; there are: {', '.join(known)}")
        loader, evaluator = copy.deepcopy(known[name])
        if part:
            loader["dataset"]["indices"] = _half(loader["dataset"], part, spec)
        found[spec.replace(":", " ")] = (loader, evaluator)
    return found


def _half(dataset: dict, part: str, spec: str) -> list[int]:
    """Positions of the images in one half of a dataset."""
    if part not in PARTS:
        raise ValueError(f"{spec}: no part {part!r}; there are: {', '.join(PARTS)}")
    if dataset.get("indices") is not None:
        raise ValueError(f"{spec}: the config already sets `indices` of this set; name it whole")
    count = len(image_paths(dataset))
    if count < 2:
        raise ValueError(f"{spec}: a set of {count} image cannot be halved; name it whole")
    middle = count // 2
    return list(range(middle) if part == PARTS[0] else range(middle, count))


def image_paths(dataset: dict) -> list[str]:
    """Return the paths of a dataset's images, in its order."""
    built = DATASETS.build(dict(copy.deepcopy(dataset), pipeline=[]))
    return [built.get_data_info(index)["img_path"] for index in range(len(built))]


def require_disjoint(selecting: Sets, reporting: Sets) -> None:
    """Raise if an image is used both to select and to report.

    Raises:
        ValueError: with both sets, the number of shared images and the first of them.
    """
    reported = {name: set(image_paths(pair[0]["dataset"])) for name, pair in reporting.items()}
    for selecting_name, (loader, _) in selecting.items():
        paths = image_paths(loader["dataset"])
        for name, others in reported.items():
            shared = [path for path in paths if path in others]
            if shared:
                raise ValueError(
                    f"{selecting_name} (to select on) and {name} (to report on) share "
                    f"{len(shared)} images, the first is {shared[0]}: metrics on images that the "
                    "selection has seen are optimistic; take halves, e.g. "
                    "--select-on NAME:first-half --report-on NAME:second-half"
                )
