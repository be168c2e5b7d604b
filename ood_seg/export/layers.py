"""Layers written otherwise where ONNX Runtime is slow at the usual form; same values."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PReLUByConvolution(nn.Module):
    """`PReLU` of one slope per channel as `(1 - a) relu(x) + a x`, both products convolutions.

    ONNX Runtime runs convolutions of one weight per channel in the blocked layout of their
    neighbours; `PRelu` it has only in the plain layout, at a third of the speed.

    Args:
        layer: the one to stand in for.
    """

    def __init__(self, layer: nn.PReLU) -> None:
        super().__init__()
        slopes = layer.weight.detach().view(-1, 1, 1, 1)
        self.register_buffer("slopes", slopes.clone())
        self.register_buffer("rests", 1 - slopes)

    def forward(self, maps: Tensor) -> Tensor:
        groups = len(self.slopes)
        rests = F.conv2d(torch.relu(maps), self.rests, groups=groups)
        return rests + F.conv2d(maps, self.slopes, groups=groups)


def with_fast_layers(model: nn.Module) -> nn.Module:
    """A copy of a model for export; the model itself stays as it is."""
    model = copy.deepcopy(model)
    for parent in model.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.PReLU) and layer.num_parameters > 1:
                setattr(parent, name, PReLUByConvolution(layer))
    return model
