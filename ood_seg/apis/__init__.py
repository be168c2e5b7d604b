"""Use of trained models from Python.

`AnomalyInferencer` needs mmsegmentation and is therefore loaded when it is asked for.
"""

from __future__ import annotations

from ood_seg.checkpoints import check_matches, load_checkpoint, load_weights

__all__ = ["AnomalyInferencer", "check_matches", "load_checkpoint", "load_weights"]


def __getattr__(name: str):
    if name == "AnomalyInferencer":
        from ood_seg.apis.inferencer import AnomalyInferencer

        return AnomalyInferencer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
