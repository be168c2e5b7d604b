"""WideResNet38, the trunk of the published DeepLabV3+ networks for road anomalies."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# Of mod2 to mod7: output stride 8 comes from two pools and the stride of mod4.
_STRIDES = (1, 1, 2, 1, 1, 1)
_DILATIONS = (1, 1, 1, 2, 4, 4)
_DROPOUT = (0.0, 0.0, 0.0, 0.0, 0.3, 0.5)


@MODELS.register_module()
class WideResNet38(BaseModule):
    """Wide residual network with pre-activation blocks, variant A2, output stride 8.

    ```
    image (N,3,H,W) -> mod1 -> pool2 -> mod2 --------------------------> (N,128,H/2,W/2)
                                         `-> pool3 -> mod3 ... mod7 ---> (N,4096,H/8,W/8)
    ```

    Wu et al., "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition" (2019), in
    the form of which NVIDIA's semantic segmentation and, after it, Meta-OoD, PEBAL, Balanced
    Energy, RPL and DenseHybrid publish weights. Sizes are rounded up at each halving.

    Parameter names are the published ones (`mod1.conv1.weight`, `mod2.block1.bn1.0.weight`,
    `mod2.block1.convs.conv1.weight`, `mod2.block1.proj_conv.weight`, ...).

    Parts without a trainable parameter keep no activations for the backward pass, as long as
    nothing before them is trained.

    Args:
        in_channels: channels of the image.
        stem_channels: channels of mod1.
        channels: for mod2 to mod7 the output channels of each convolution of a block: two 3x3,
            or a 1x1, a 3x3 and a 1x1.
        num_blocks: number of blocks in mod2 to mod7.
        norm_cfg: config of the normalisation layers, `BN` or `SyncBN`.
        with_cp: recompute the activations of each block in the backward pass instead of keeping
            them. Batch statistics enter the running ones once all the same.
        init_cfg: see `BaseModule`.

    Raises:
        ValueError: unless there are six modules, each with at least one block of two or three
            convolutions.
    """

    def __init__(
        self,
        in_channels: int = 3,
        stem_channels: int = 64,
        channels: Sequence[Sequence[int]] = (
            (128, 128),
            (256, 256),
            (512, 512),
            (512, 1024),
            (512, 1024, 2048),
            (1024, 2048, 4096),
        ),
        num_blocks: Sequence[int] = (3, 3, 6, 3, 1, 1),
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _check_structure(channels, num_blocks)
        self.with_cp = with_cp
        norm_cfg = norm_cfg or {"type": "BN"}
        stem = nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False)
        self.mod1 = nn.Sequential(OrderedDict(conv1=stem))
        self.pool2 = nn.MaxPool2d(3, stride=2, padding=1)
        self.pool3 = nn.MaxPool2d(3, stride=2, padding=1)
        width = stem_channels
        for index, (widths, count) in enumerate(zip(channels, num_blocks, strict=True)):
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, count + 1):
                blocks[f"block{number}"] = _Block(
                    width,
                    widths,
                    stride=_STRIDES[index] if number == 1 else 1,
                    dilation=_DILATIONS[index],
                    dropout=_DROPOUT[index],
                    norm_cfg=norm_cfg,
                )
                width = widths[-1]
            self.add_module(f"mod{index + 2}", nn.Sequential(blocks))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features of mod2 (stride 2) and of mod7 (stride 8, before any normalisation)."""
        low = self._run(self.mod2, self.pool2(self.mod1(images)))
        high = self.pool3(low)
        for module in (self.mod3, self.mod4, self.mod5, self.mod6, self.mod7):
            high = self._run(module, high)
        return low, high

    def _run(self, blocks: nn.Sequential, features: Tensor) -> Tensor:
        for block in blocks:
            if self.with_cp and _builds_graph(block, features):
                features = _recomputed(block, features)
            else:
                features = block(features)
        return features


class _Block(nn.Module):
    """Pre-activation residual block: normalise, activate, then convolve and add the shortcut.

    The shortcut is the input itself, or a 1x1 convolution of the activated input where size or
    channels change.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        *,
        stride: int,
        dilation: int,
        dropout: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.bn1 = _norm_relu(norm_cfg, in_channels)
        kernels = (3, 3) if len(channels) == 2 else (1, 3, 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        width = in_channels
        for index, (kernel, out) in enumerate(zip(kernels, channels, strict=True), start=1):
            if index > 1:
                layers[f"bn{index}"] = _norm_relu(norm_cfg, width)
            if dropout and index == len(kernels):
                layers["dropout"] = nn.Dropout2d(dropout)
            reach = dilation * (kernel // 2)
            layers[f"conv{index}"] = nn.Conv2d(
                width,
                out,
                kernel,
                stride=stride if index == 1 else 1,
                padding=reach,
                dilation=dilation if kernel > 1 else 1,
                bias=False,
            )
            width = out
        self.convs = nn.Sequential(layers)
        self.proj_conv = None
        if stride != 1 or in_channels != width:
            self.proj_conv = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        activated = self.bn1(features)
        shortcut = features if self.proj_conv is None else self.proj_conv(activated)
        return self.convs(activated).add_(shortcut)


def _norm_relu(norm_cfg: dict, channels: int) -> nn.Sequential:
    return nn.Sequential(build_norm_layer(norm_cfg, channels)[1], nn.ReLU(inplace=True))


def _check_structure(channels: Sequence[Sequence[int]], num_blocks: Sequence[int]) -> None:
    wanted = len(_STRIDES)
    if len(channels) != wanted or len(num_blocks) != wanted:
        raise ValueError(
            f"channels and num_blocks need one entry for each of mod2 to mod7 ({wanted}), "
            f"got {len(channels)} and {len(num_blocks)}"
        )
    if any(len(widths) not in (2, 3) for widths in channels) or min(num_blocks) < 1:
        raise ValueError(
            "each module needs two or three convolutions per block and at least one block, "
            f"got channels {channels} and num_blocks {num_blocks}"
        )


def _builds_graph(block: nn.Module, features: Tensor) -> bool:
    trained = features.requires_grad or any(p.requires_grad for p in block.parameters())
    return torch.is_grad_enabled() and trained


def _recomputed(block: nn.Module, features: Tensor) -> Tensor:
    """Run a block whose activations are computed again in the backward pass."""
    return checkpoint(
        block,
        features,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _statistics_kept(block)),
    )


@contextlib.contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Leave running statistics as they are: the first run has updated them already."""
    layers = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        if layer.num_batches_tracked is not None:
            # Counted on a copy: synchronised layers refuse to go without a count.
            layer.num_batches_tracked = layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
