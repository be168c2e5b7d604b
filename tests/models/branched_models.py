"""Tiny networks with an anomaly branch, each beside plain models with the same weights."""

from __future__ import annotations

import published_networks as published
import tiny
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from torch import nn

BN = {"type": "BN"}
WIDTHS = published.SMALL_WIDTHS
HEAD = {"type": "FCNHead", "num_convs": 0, "concat_input": False, "num_classes": 5}
NETWORKS: dict[str, dict] = {
    "erfnet": {},
    "cgnet": {
        "backbone": {
            "type": "CGNet",
            "norm_cfg": BN,
            "num_channels": (4, 8, 16),
            "num_blocks": (2, 3),
            "reductions": (2, 4),
        },
        "decode_head": {**HEAD, "in_channels": 32, "channels": 32, "in_index": 2},
    },
    "deepwv3plus": {
        "backbone": {
            "type": "WideResNet38",
            "stem_channels": WIDTHS["stem"],
            "channels": WIDTHS["mods"],
            "num_blocks": WIDTHS["blocks"],
        },
        "decode_head": {
            "type": "DeepWV3PlusHead",
            "in_channels": (WIDTHS["mods"][0][-1], WIDTHS["mods"][-1][-1]),
            "channels": WIDTHS["head"],
            "low_channels": WIDTHS["low"],
            "num_classes": 5,
        },
    },
    "deeplabv3plus": {
        "backbone": {
            "type": "ResNetV1c",
            "depth": 18,
            "stem_channels": 8,
            "base_channels": 8,
            "norm_cfg": BN,
        },
        "decode_head": {
            "type": "DepthwiseSeparableASPPHead",
            "in_channels": 64,
            "in_index": 3,
            "channels": 8,
            "dilations": (1, 3),
            "c1_in_channels": 8,
            "c1_channels": 4,
            "num_classes": 5,
            "norm_cfg": BN,
        },
    },
    "segformer": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
        },
        "decode_head": {
            "type": "SegformerHead",
            "in_channels": [8, 8, 8, 8],
            "in_index": [0, 1, 2, 3],
            "channels": 8,
            "num_classes": 5,
            "norm_cfg": BN,
        },
    },
}
FORKS = [
    ("erfnet", ["decode_head.*"]),
    ("erfnet", ["backbone.decoder.*", "decode_head.*"]),
    ("erfnet", ["backbone.encoder.[34].*", "backbone.decoder.*", "decode_head.*"]),
    ("erfnet", ["backbone.encoder.2.*"]),  # what follows runs twice, with frozen weights
    ("erfnet", ["backbone.encoder.4.convs_layers.[3-9].*", "decode_head.*"]),  # inside a block
    ("erfnet", ["*.running_mean"]),  # every batch norm
    ("erfnet", ["*"]),
    ("cgnet", ["backbone.level2.*", "backbone.norm_prelu_2.*", "decode_head.*"]),
    ("deepwv3plus", ["decode_head.final.*", "decode_head.conv_seg.*"]),
    ("deepwv3plus", ["backbone.mod7.*", "decode_head.*"]),
    ("deeplabv3plus", ["decode_head.*"]),
    ("deeplabv3plus", ["backbone.layer4.*", "decode_head.*"]),
    ("segformer", ["decode_head.*"]),
    ("segformer", ["backbone.layers.3.*", "decode_head.*"]),
    ("segformer", ["backbone.layers.3.1.0.attn.attn.out_proj.*", "decode_head.*"]),
]
IDS = [f"{name}: {' '.join(fork)}" for name, fork in FORKS]


def build(name: str, **changes):
    """A model with random weights and statistics, in evaluation mode."""
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(tiny.model_config(**{**NETWORKS[name], **changes})))
    randomise(model)
    return model.eval()


def randomise(module: nn.Module, seed: int = 1) -> None:
    """Random statistics and affine weights, so that no layer is the identity."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in module.state_dict().items():
        if key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif key.endswith(("running_mean", "bias")):
            value.normal_(0, 0.2, generator=generator)


def trained_pair(name: str, fork: list[str], **changes):
    """A model whose branch has other weights, and two plain models: frozen and branch weights."""
    frozen = build(name)
    model = build(name, anomaly_branch={"fork": fork}, **changes)
    model.load_state_dict(frozen.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(2)
    for key, value in model.anomaly_branch.state_dict().items():
        if value.is_floating_point():
            value.mul_(1 + 0.3 * torch.rand(value.shape, generator=generator))
            assert key.split(".")[0] in ("backbone", "decode_head")
    branch = build(name, **changes)
    weights = {**frozen.state_dict(), **model.anomaly_branch.state_dict()}
    branch.load_state_dict(weights, strict=True)
    return model, frozen, branch
