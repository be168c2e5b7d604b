"""The test sets of a config, one or several with names, and edits of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmseg.registry import METRICS, TRANSFORMS

from ood_seg.labels import IGNORE
from ood_seg.refinement import Refinement
from ood_seg.spelling import did_you_mean

MULTI_SET_LOOP = "MultiSetTestLoop"
IMAGE_LEVEL_LOOP = "ImageLevelTestLoop"
ONLY_SET = "test"
_OUR_METRICS = ("AnomalyMetric", "KnownIoUMetric")


def has_named_sets(cfg: Config) -> bool:
    """Whether `test_dataloader` and `test_evaluator` are dicts by the names of test sets."""
    return (cfg.get("test_cfg") or {}).get("type") in (MULTI_SET_LOOP, IMAGE_LEVEL_LOOP)


def is_image_level(cfg: Config) -> bool:
    """Whether the tests of a config are those of an image-level model."""
    return (cfg.get("test_cfg") or {}).get("type") == IMAGE_LEVEL_LOOP


def named_sets(cfg: Config) -> dict[str, tuple[dict, Any]]:
    """Return data loader and evaluator configs by name; a single test set is named `test`.

    Raises:
        ValueError: the config has no test sets, or loaders and evaluators do not pair up.
    """
    loaders, evaluators = cfg.get("test_dataloader"), cfg.get("test_evaluator")
    if not loaders or not evaluators:
        raise ValueError("the config has no test_dataloader and test_evaluator")
    if not has_named_sets(cfg):
        return {ONLY_SET: (loaders, evaluators)}
    if set(loaders) != set(evaluators):
        raise ValueError(
            f"test_dataloader names the sets {sorted(loaders)}, test_evaluator "
            f"{sorted(evaluators)}; each set needs both"
        )
    return {name: (loaders[name], evaluators[name]) for name in loaders}


def ignore_what_the_model_ignores(cfg: Config) -> None:
    """Give the metrics of the config the label that its decode head ignores.

    Metrics that name a label themselves keep it. mmseg's own metrics are not touched.
    """
    model = cfg.model
    while "module" in model:  # within test-time augmentation
        model = model["module"]
    heads = model.get("decode_head") or {}
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    ignored = head.get("ignore_index", IGNORE)
    waiting = [cfg.get("val_evaluator"), cfg.get("test_evaluator")] if ignored != IGNORE else []
    while waiting:
        part = waiting.pop()
        if isinstance(part, (list, tuple)):
            waiting += part
        elif isinstance(part, dict) and part.get("type") in _OUR_METRICS:
            part.setdefault("ignore_index", ignored)
        elif isinstance(part, dict):
            waiting += part.values()


def keep_first_images(loader: dict, num_images: int) -> None:
    """Leave only the first images of a set, or of the part of it that the config names.

    Args:
        loader: config of its data loader; changed.
        num_images: how many; a set that has fewer keeps all.

    Raises:
        ValueError: the number is not positive.
    """
    if num_images < 1:
        raise ValueError(f"the number of images must be positive, got {num_images}")
    dataset = loader["dataset"]
    given = dataset.get("indices")
    if given is None:
        dataset["indices"] = num_images
    else:
        few = isinstance(given, int)
        dataset["indices"] = min(given, num_images) if few else list(given)[:num_images]


def keep_sets(cfg: Config, names: Sequence[str]) -> None:
    """Leave only some of the named test sets in the config.

    Raises:
        ValueError: a name is unknown, or the config has a single nameless set.
    """
    if not has_named_sets(cfg):
        raise ValueError(f"--sets needs a config with test_cfg.type = {MULTI_SET_LOOP!r}")
    known = named_sets(cfg)
    unknown = [name for name in names if name not in known]
    if unknown:
        meant = did_you_mean(unknown[0], known)
        raise ValueError(f"no test set {', '.join(unknown)}{meant}; there are: {', '.join(known)}")
    kept = {*names, cfg.test_cfg.get("known")}  # outlier images are compared with the known ones
    for key in ("test_dataloader", "test_evaluator"):
        for name in known:
            if name not in kept:
                cfg[key].pop(name)


def use_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation and give every test set its pipeline.

    Raises:
        ValueError: the config lacks `tta_model` or `tta_pipeline`.
    """
    missing = [key for key in ("tta_model", "tta_pipeline") if not cfg.get(key)]
    if missing:
        raise ValueError(f"--tta needs {' and '.join(missing)} in the config")
    for loader, _ in named_sets(cfg).values():
        labels = [step for step in loader["dataset"]["pipeline"] if _loads_labels(step)]
        pipeline = copy.deepcopy(list(cfg.tta_pipeline))
        loader["dataset"]["pipeline"] = (
            _with_label_loaders(pipeline, labels) if labels else pipeline
        )
    cfg.model = dict(**cfg.tta_model, module=cfg.model)


def add_branch_iou(cfg: Config) -> None:
    """Evaluate the labels that the anomaly branch would give, too, as `branch/mIoU`.

    Every closed-set metric of the test sets gets a second one beside it.

    Raises:
        ValueError: the model has no anomaly branch, or no test set has a closed-set metric.
    """
    if not cfg.model.get("anomaly_branch"):
        raise ValueError("--branch-iou needs a config with model.anomaly_branch")
    cfg.model.keep_logits = True  # the labels of the branch are taken from its logits
    added = 0
    for key, evaluator in named_sets(cfg).items():
        metrics = list(metrics_of(evaluator[1]))
        known = [metric for metric in metrics if metric["type"] in ("KnownIoUMetric", "IoUMetric")]
        added += len(known)
        beside = [
            dict(metric, type="KnownIoUMetric", prediction="branch_sem_seg", prefix="branch")
            for metric in known
        ]
        if has_named_sets(cfg):
            cfg.test_evaluator[key] = [*metrics, *beside]
        else:
            cfg.test_evaluator = [*metrics, *beside]
    if not added:
        raise ValueError("--branch-iou: no test set of the config has a KnownIoUMetric")


def _loads_labels(step: dict) -> bool:
    kind = TRANSFORMS.get(step["type"])
    return isinstance(kind, type) and issubclass(kind, LoadAnnotations)


def _with_label_loaders(steps: list, labels: list[dict]) -> list:
    """Replace the steps that load labels by those of a set: label values differ between sets."""
    replaced: list = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            replaced.append(_with_label_loaders(list(step), labels))
        elif _loads_labels(step):
            replaced += copy.deepcopy(labels)
        else:
            if "transforms" in step:
                step["transforms"] = _with_label_loaders(list(step["transforms"]), labels)
            replaced.append(step)
    return replaced


def save_predictions(cfg: Config, folder: Path) -> list[Path]:
    """Set the output folder of every metric that saves its input, one folder per set.

    Returns:
        These folders.

    Raises:
        ValueError: no metric of the config can.
    """
    saving: list[Path] = []
    for name, (_, evaluator) in named_sets(cfg).items():
        target = folder / name if has_named_sets(cfg) else folder
        for metric in metrics_of(evaluator):
            if takes_argument(metric["type"], "output_dir"):
                metric["output_dir"] = str(target)
                saving.append(target)
    if not saving:
        raise ValueError("--out: no metric of the config's test_evaluator has an output_dir")
    return list(dict.fromkeys(saving))


def set_refinement(cfg: Config, specifications: Any) -> Refinement:
    """Set the refinement of every metric that takes one, and return it.

    Raises:
        FileNotFoundError, ValueError: see `Refinement`; or no metric of the config takes one.
    """
    refinement = Refinement.of(specifications).open()
    refined = [
        metric
        for _, evaluator in named_sets(cfg).values()
        for metric in metrics_of(evaluator)
        if takes_argument(metric["type"], "refinement")
    ]
    if not refined:
        raise ValueError("--refine: no metric of the config's test_evaluator takes a refinement")
    for metric in refined:
        metric["refinement"] = refinement.record()
    return refinement


def takes_argument(metric: str | type, name: str) -> bool:
    """Whether a registered metric has the named argument, or passes it on to a base that has."""
    found = METRICS.get(metric) if isinstance(metric, str) else metric
    for kind in inspect.getmro(found) if found is not None else ():
        if "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(vars(kind)["__init__"]).parameters
        if name in parameters:
            return True
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return False
    return False


def metrics_of(evaluator: Any) -> Iterable[dict]:
    """Return the metric configs of an evaluator: one, a list, or an evaluator with `metrics`."""
    inner = evaluator.get("metrics", evaluator) if isinstance(evaluator, dict) else evaluator
    return [inner] if isinstance(inner, dict) else list(inner)
