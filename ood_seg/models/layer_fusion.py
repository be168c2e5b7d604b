"""Outputs of several layers, brought to one size and one number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import kaiming_init
from mmseg.models.utils import resize
from torch import Tensor, nn


class LayerFusion(nn.Module):
    """A 1x1 convolution of each layer's output, at the size of the first, summed, activated.

    The same as one 1x1 convolution of all outputs together. Smaller ones are enlarged after it,
    which is equal and cheaper.

    Args:
        layers: names of the layers, the one that sets the size first.
        in_channels: of their outputs.
        channels: of the result.
        norm_cfg: config of a normalisation before the activation; None: none.

    Raises:
        ValueError: the lists are empty or of different lengths.
    """

    def __init__(
        self,
        layers: Sequence[str],
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if isinstance(layers, str) or not layers or len(layers) != len(in_channels):
            raise ValueError(
                "layers and in_channels must be lists of one length, names of layers and the "
                f"channels of their outputs, got {layers!r} and {in_channels!r}"
            )
        self.layers = tuple(layers)
        self.convs = nn.ModuleList(
            nn.Conv2d(count, channels, 1, bias=index == 0)
            for index, count in enumerate(in_channels)
        )
        self.norm = None if norm_cfg is None else build_norm_layer(norm_cfg, channels)[1]
        self.activate = nn.ReLU(inplace=True)
        for conv in self.convs:
            kaiming_init(conv, mode="fan_in")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """`(N, D, h, w)` of each layer, in their order, to `(N, channels, h, w)`.

        Raises:
            ValueError: an output is of another shape than stated.
        """
        for name, conv, one in zip(self.layers, self.convs, maps, strict=True):
            if one.ndim != 4 or one.shape[1] != conv.in_channels:
                raise ValueError(
                    f"in_channels: expected (N, {conv.in_channels}, h, w) of layer {name!r}, got "
                    f"{tuple(one.shape)}; state its channels, or choose a layer that gives maps"
                )
        size = maps[0].shape[-2:]
        fused = sum(map(partial(_at_size, size), self.convs, maps))
        return self.activate(fused if self.norm is None else self.norm(fused))


def _at_size(size: torch.Size, conv: nn.Module, one: Tensor) -> Tensor:
    """The convolution of a map, at a size."""
    options = {"size": size, "mode": "bilinear", "align_corners": False}
    if one.shape[-2:].numel() > size.numel():
        return conv(resize(one, **options))
    return resize(conv(one), **options)
