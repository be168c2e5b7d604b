"""Evaluation: metrics for mmengine's evaluator, and of saved score maps without mmengine.

Names are imported when they are used: `AnomalyMetric` and `KnownIoUMetric` need mmseg, with which
importing them registers them; all that concerns saved maps works without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ood_seg.startup import quiet_imports

if TYPE_CHECKING:
    from ood_seg.evaluation.anomaly_metric import AnomalyMetric
    from ood_seg.evaluation.folders import MapFolders, calibrate_folders
    from ood_seg.evaluation.known_iou_metric import KnownIoUMetric
    from ood_seg.evaluation.methods import evaluate_folders, evaluate_methods
    from ood_seg.evaluation.run import Evaluation
    from ood_seg.evaluation.settings import Settings

__all__ = [
    "AnomalyMetric",
    "Evaluation",
    "KnownIoUMetric",
    "MapFolders",
    "Settings",
    "calibrate_folders",
    "evaluate_folders",
    "evaluate_methods",
]

_MODULES = {
    "AnomalyMetric": "anomaly_metric",
    "Evaluation": "run",
    "KnownIoUMetric": "known_iou_metric",
    "MapFolders": "folders",
    "Settings": "settings",
    "calibrate_folders": "folders",
    "evaluate_folders": "methods",
    "evaluate_methods": "methods",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet_imports():
        module = import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
