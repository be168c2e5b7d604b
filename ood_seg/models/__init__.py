"""Segmentor, heads, backbones, test-time augmentation, and loading of models with weights.

The names below need mmsegmentation and are imported when asked for; `models.layouts` works
without it.
"""

from __future__ import annotations

import importlib

_MODULES = {
    "DeepWV3PlusHead": "deep_wv3_plus_head",
    "DenseHybridHead": "dense_hybrid_head",
    "ERFNetHead": "erfnet_head",
    "EnergyHead": "energy_head",
    "OODEncoderDecoder": "ood_encoder_decoder",
    "OODTTAModel": "tta",
    "WideResNet38": "wide_resnet38",
    "freeze_parameters": "freezing",
    "load_model": "loading",
    "residual_pattern_head": "residual_pattern",
    "train_only": "freezing",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Import the class or function `name` from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
