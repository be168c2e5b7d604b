"""Equivalent forms of layers that are slow in ONNX Runtime or cannot be exported."""

from __future__ import annotations

import copy
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from mmseg.models.backbones.swin import ShiftWindowMSA
from mmseg.models.utils import Upsample
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class PReLUByConvolution(nn.Module):
    """`PReLU` with one slope per channel as `(1 - a) relu(x) + a x` with depthwise convolutions.

    ONNX Runtime executes depthwise convolutions in the blocked layout of the adjacent layers;
    `PRelu` only exists in the plain layout, at a third of the speed.

    Args:
        layer: the layer to replace.
    """

    slopes: Tensor
    rests: Tensor

    def __init__(self, layer: nn.PReLU) -> None:
        super().__init__()
        slopes = layer.weight.detach().view(-1, 1, 1, 1)
        self.register_buffer("slopes", slopes.clone())
        self.register_buffer("rests", 1 - slopes)

    def forward(self, maps: Tensor) -> Tensor:
        groups = len(self.slopes)
        rests = F.conv2d(torch.relu(maps), self.rests, groups=groups)
        return rests + F.conv2d(maps, self.slopes, groups=groups)


def joined_windows(size: int, windows: Tensor, height: int, width: int) -> Tensor:
    """Maps of which Swin's attention has computed the windows.

    `ShiftWindowMSA.window_reverse` of mmseg computes the number of images by `int()` of a quotient,
    by which an exported file would be one for a single number of images.

    Args:
        size: height and width of a window.
        windows: `(N * height / size * width / size, size, size, C)`.
        height: of the maps, a multiple of `size`; so is `width`.
        width: of the maps.

    Returns:
        `(N, height, width, C)`.
    """
    rows, columns, channels = height // size, width // size, windows.shape[-1]
    tiles = windows.view(-1, rows, columns, size, size, channels).transpose(2, 3)
    return tiles.reshape(-1, height, width, channels)


class EnlargedByFactor(nn.Module):
    """mmseg's `Upsample` by a whole factor, for maps of any size.

    That computes sizes by `int()` of a product, by which an exported file would be one for a single
    size.

    Args:
        factor: of height and width.
        mode: of the interpolation.
        align_corners: of the interpolation.
    """

    def __init__(self, factor: int, mode: str, align_corners: bool | None) -> None:
        super().__init__()
        self.factor = factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, maps: Tensor) -> Tensor:
        height, width = (self.factor * size for size in maps.shape[-2:])
        return F.interpolate(maps, (height, width), None, self.mode, self.align_corners)


def _whole_factor(layer: Upsample) -> int | None:
    """The factor of an `Upsample`, if it is one integer for height and width."""
    factor = layer.scale_factor
    if layer.size or not isinstance(factor, float) or factor != int(factor):
        return None
    return int(factor)


def with_exportable_layers(model: Model) -> Model:
    """A copy of a model with layers replaced by equivalent ones, see the module."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, ShiftWindowMSA):
            module.window_reverse = partial(joined_windows, module.window_size)
    for parent in model.modules():
        for name, layer in parent.named_children():
            if isinstance(layer, nn.PReLU) and layer.num_parameters > 1:
                setattr(parent, name, PReLUByConvolution(layer))
            elif isinstance(layer, Upsample) and (factor := _whole_factor(layer)):
                enlarged = EnlargedByFactor(factor, layer.mode, layer.align_corners)
                setattr(parent, name, enlarged)
    return model
