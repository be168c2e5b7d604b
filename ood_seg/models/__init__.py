"""Segmentor, heads, backbones, test-time augmentation, and loading of models with weights.

The names below need mmsegmentation and are imported when asked for; `models.layouts` works
without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ood_seg.startup import quiet_imports

if TYPE_CHECKING:
    from ood_seg.models.deep_wv3_plus_head import DeepWV3PlusHead
    from ood_seg.models.dense_hybrid_head import DenseHybridHead
    from ood_seg.models.energy_head import EnergyHead
    from ood_seg.models.erfnet_head import ERFNetHead
    from ood_seg.models.freezing import freeze_parameters, train_only
    from ood_seg.models.learned_head import LearnedHead
    from ood_seg.models.loading import load_model
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder
    from ood_seg.models.residual_pattern import residual_pattern_head
    from ood_seg.models.tta import OODTTAModel
    from ood_seg.models.wide_resnet38 import WideResNet38

_MODULES = {
    "DeepWV3PlusHead": "deep_wv3_plus_head",
    "DenseHybridHead": "dense_hybrid_head",
    "ERFNetHead": "erfnet_head",
    "EnergyHead": "energy_head",
    "LearnedHead": "learned_head",
    "OODEncoderDecoder": "ood_encoder_decoder",
    "OODTTAModel": "tta",
    "WideResNet38": "wide_resnet38",
    "freeze_parameters": "freezing",
    "load_model": "loading",
    "residual_pattern_head": "residual_pattern",
    "train_only": "freezing",
}

__all__ = [
    "DeepWV3PlusHead",
    "DenseHybridHead",
    "ERFNetHead",
    "EnergyHead",
    "LearnedHead",
    "OODEncoderDecoder",
    "OODTTAModel",
    "WideResNet38",
    "freeze_parameters",
    "load_model",
    "residual_pattern_head",
    "train_only",
]


def __getattr__(name: str) -> Any:
    """Import the class or function `name` from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet_imports():
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
