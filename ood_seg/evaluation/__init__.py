"""Evaluation: metrics for mmengine's evaluator, and of saved score maps without mmengine.

Everything is imported when asked for: `AnomalyMetric` and `KnownIoUMetric` need mmseg, with which
importing them registers them; all that concerns saved maps works without it.
"""

from __future__ import annotations

import importlib

_MODULES = {
    "AnomalyMetric": "anomaly_metric",
    "Evaluation": "run",
    "KnownIoUMetric": "known_iou_metric",
    "MapFolders": "folders",
    "Settings": "settings",
    "calibrate_folders": "folders",
    "evaluate_folders": "folders",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Import `name` from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
