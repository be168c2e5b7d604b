"""Use of trained models from Python.

`AnomalyInferencer` and `load_model` need mmsegmentation and are imported when asked for.
"""

from __future__ import annotations

from ood_seg.checkpoints import check_matches, load_checkpoint, load_weights

__all__ = ["AnomalyInferencer", "check_matches", "load_checkpoint", "load_model", "load_weights"]


def __getattr__(name: str) -> object:
    """Import what needs mmsegmentation."""
    if name == "AnomalyInferencer":
        from ood_seg.apis.inferencer import AnomalyInferencer

        return AnomalyInferencer
    if name == "load_model":
        from ood_seg.models.loading import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
