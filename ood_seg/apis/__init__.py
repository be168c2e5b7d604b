"""Use of trained models from Python.

Names are imported when they are used: exported models need no torch, other models need
mmsegmentation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ood_seg.startup import quiet_imports

if TYPE_CHECKING:
    from ood_seg.apis.inferencer import AnomalyInferencer
    from ood_seg.apis.segmentors import load_segmentor
    from ood_seg.checkpoints import check_matches, load_checkpoint, load_weights
    from ood_seg.models.loading import load_model
    from ood_seg.perception.run.infer import infer

__all__ = [
    "AnomalyInferencer",
    "check_matches",
    "infer",
    "load_checkpoint",
    "load_model",
    "load_segmentor",
    "load_weights",
]

_MODULES = {
    "AnomalyInferencer": "ood_seg.apis.inferencer",
    "check_matches": "ood_seg.checkpoints",
    "infer": "ood_seg.perception.run.infer",
    "load_checkpoint": "ood_seg.checkpoints",
    "load_model": "ood_seg.models.loading",
    "load_segmentor": "ood_seg.apis.segmentors",
    "load_weights": "ood_seg.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet_imports():
        module = import_module(_MODULES[name])
    return getattr(module, name)
