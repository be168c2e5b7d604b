"""Experiment loggers of a training: TensorBoard, MLflow and Weights & Biases, by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ood_seg.spelling import did_you_mean

# Name -> backend of mmengine, and the module that it needs.
_LOGGERS = {
    "tensorboard": ("TensorboardVisBackend", "tensorboard"),
    "mlflow": ("MLflowVisBackend", "mlflow"),
    "wandb": ("WandbVisBackend", "wandb"),
}
LOGGERS = tuple(_LOGGERS)
_NUM_IMAGES = 4  # drawn at each validation


def add_loggers(cfg: Config, names: Sequence[str]) -> None:
    """Send scalars, images of the validation and the config of a training to loggers.

    Backends that the config has already are left as they are. MLflow's run goes to the server in
    `MLFLOW_TRACKING_URI`, else to `mlflow.db` beside the work dir; that of Weights & Biases to the
    project in `WANDB_PROJECT`, else `ood_seg`. Where the config draws nothing, the first images of
    each validation are drawn.

    Args:
        cfg: the config; changed.
        names: of `LOGGERS`.

    Raises:
        ValueError: an unknown name, or the library of a logger is not installed.
    """
    if not names:
        return
    visualizer = cfg.get("visualizer") or {"type": "SegLocalVisualizer", "name": "visualizer"}
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    for name in dict.fromkeys(names):
        kind, module = _backend(name)
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"logger {name} needs its library: pip install {module}")
        if kind not in [one.get("type") for one in backends]:
            backends.append({"type": kind, **_options(name, cfg)})
    cfg.visualizer = {**visualizer, "vis_backends": backends}
    _draw_some_images(cfg)


def _backend(name: str) -> tuple[str, str]:
    if name not in _LOGGERS:
        known = ", ".join(_LOGGERS)
        raise ValueError(f"no logger {name!r}{did_you_mean(name, _LOGGERS)}; there are: {known}")
    return _LOGGERS[name]


def _options(name: str, cfg: Config) -> dict[str, Any]:
    """Arguments of a backend."""
    folder = Path(cfg.work_dir)
    if name == "mlflow":
        server, runs = os.environ.get("MLFLOW_TRACKING_URI"), folder.resolve().parent
        return {
            "exp_name": "ood_seg",
            "run_name": folder.name,
            "tracking_uri": server or f"sqlite:///{runs / 'mlflow.db'}",
            # A server has a place of its own for files; else the current folder would be used.
            "artifact_location": None if server else (runs / "mlflow_files").as_uri(),
            "tracked_config_keys": list(_with_text_keys(cfg)),
        }
    if name == "wandb":
        project = os.environ.get("WANDB_PROJECT", "ood_seg")
        return {"init_kwargs": {"project": project, "name": folder.name}}
    return {}


def _with_text_keys(cfg: Config) -> Iterator[str]:
    """Settings of the method; MLflow's backend fails on numbers as keys, as in a `label_map`."""
    for key in ("model", "train_cfg", "optim_wrapper", "param_scheduler", "load_from"):
        if cfg.get(key) is not None and _has_text_keys(cfg[key]):
            yield key


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _has_text_keys(one) for k, one in value.items())
    return not isinstance(value, (list, tuple)) or all(map(_has_text_keys, value))


def _draw_some_images(cfg: Config) -> None:
    """Let the config's visualization hook draw, if it draws nothing so far."""
    hook = (cfg.get("default_hooks") or {}).get("visualization")
    if hook is not None and hook.get("type") == "AnomalyVisualizationHook" and not hook.get("draw"):
        hook.draw = True
        hook.setdefault("num_images", _NUM_IMAGES)
