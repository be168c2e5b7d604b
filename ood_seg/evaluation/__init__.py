"""Evaluation: metrics for mmengine's evaluator, and of saved score maps without mmengine.

`AnomalyMetric` and `KnownIoUMetric` need mmseg, with which importing them registers them, and
are imported when asked for; the modules on saved maps (`saved_maps`, `matching`, `run` ...) work
without it.
"""

from __future__ import annotations

import importlib

_CLASSES = {"AnomalyMetric": "anomaly_metric", "KnownIoUMetric": "known_iou_metric"}

__all__ = sorted(_CLASSES)


def __getattr__(name: str) -> object:
    """Import the class `name` from its module."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_CLASSES[name]}"), name)
