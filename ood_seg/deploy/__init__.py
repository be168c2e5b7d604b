"""Exported models without torch, on NumPy, OpenCV and ONNX Runtime (or OpenVINO)."""

from __future__ import annotations

from typing import Any

__all__ = ["ModelCard", "OnnxAnomalySegmentor"]

_MODULES = {
    "ModelCard": "ood_seg.deploy.model_card",
    "OnnxAnomalySegmentor": "ood_seg.deploy.onnx_segmentor",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
