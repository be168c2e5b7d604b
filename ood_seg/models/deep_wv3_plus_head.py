"""Decode head of the published DeepLabV3+ on WideResNet38."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class DeepWV3PlusHead(BaseDecodeHead):
    """Spatial pyramid pooling, one skip connection, two 3x3 convolutions, a classifier.

    ```
    low (N,128,h,w) ----------------> bot_fine -> (N,48,h,w) --.
    high (N,4096,h/4,w/4) -> aspp -> bot_aspp -> upsampled ----+-> fuse(): (N,304,h,w)
         fuse() -> final (two 3x3) -> conv_seg: classify() -> logits (N,num_classes,h,w)
    ```

    Zhu et al., "Improving Semantic Segmentation via Video Propagation and Label Relaxation"
    (CVPR 2019). mmseg's `DepthwiseSeparableASPPHead` is another network: its concatenations
    have the opposite order, and its convolutions are separable. Everything is upsampled
    with `align_corners=True`, the logits to the input's size too (by mmseg). No bias anywhere.

    Parameters (published name -> here): `aspp.features.{0..3}.{0.weight,1.*}`,
    `aspp.img_conv.{0.weight,1.*}`, `bot_fine.weight`, `bot_aspp.weight`,
    `final.{0.weight,1.*,3.weight,4.*}` keep their names; `final.6.weight (num_classes,256,1,1)`
    is `conv_seg.weight`, mmseg's name for the classifier of any head.

    A checkpoint with an abstention class has `num_classes` 20 here and 19 in the energy head.

    Args:
        in_channels: of the low and the high features.
        channels: of the pyramid's branches, its projection, and `final`.
        low_channels: of the projected low features.
        dilations: of the pyramid's 3x3 branches; (12, 24, 36) at output stride 8.
        in_index: positions of the low and the high features among the backbone's.
        dropout_ratio, align_corners, init_cfg, ...: as for `BaseDecodeHead`; the defaults are
            those of the published network, with its Kaiming initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (128, 4096),
        channels: int = 256,
        *,
        low_channels: int = 48,
        dilations: Sequence[int] = (12, 24, 36),
        in_index: Sequence[int] = (0, 1),
        dropout_ratio: float = 0.0,
        align_corners: bool = True,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform="multiple_select",
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
            init_cfg=init_cfg or {"type": "Kaiming", "layer": "Conv2d", "mode": "fan_in"},
            **kwargs,
        )
        self.norm_cfg: dict = self.norm_cfg or {"type": "BN"}
        low, high = self.in_channels
        self.aspp = ImagePoolingASPP(high, channels, dilations, self.norm_cfg)
        self.bot_fine = nn.Conv2d(low, low_channels, 1, bias=False)
        self.bot_aspp = nn.Conv2d(self.aspp.out_channels, channels, 1, bias=False)
        self.fused_channels = low_channels + channels
        self.final = nn.Sequential(
            *conv_norm_relu(self.fused_channels, channels, 3, self.norm_cfg),
            *conv_norm_relu(channels, channels, 3, self.norm_cfg),
        )
        self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)

    def fuse(self, inputs: Sequence[Tensor]) -> Tensor:
        """Low and upsampled high features side by side, `(N, fused_channels, h, w)`."""
        low, high = self._transform_inputs(inputs)
        context = F.interpolate(
            self.bot_aspp(self.aspp(high)),
            low.shape[-2:],
            mode="bilinear",
            align_corners=self.align_corners,
        )
        return torch.cat([self.bot_fine(low), context], dim=1)

    def classify(self, fused: Tensor) -> Tensor:
        """Logits of fused features, `(N, fused_channels, h, w) -> (N, num_classes, h, w)`."""
        return self.cls_seg(self.final(fused))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits at the size of the low features, `(N, num_classes, h, w)`."""
        return self.classify(self.fuse(inputs))


class ImagePoolingASPP(nn.Module):
    """Atrous spatial pyramid pooling, the pooled image first.

    Concatenates, in this order, the image's mean features, a 1x1 branch and one 3x3 branch per
    dilation, each convolved, normalised and activated.

    Args:
        in_channels: of the features.
        channels: of each branch.
        dilations: of the 3x3 branches.
        norm_cfg: config of the normalisation layers.
    """

    def __init__(
        self, in_channels: int, channels: int, dilations: Sequence[int], norm_cfg: dict
    ) -> None:
        super().__init__()
        branches = [conv_norm_relu(in_channels, channels, 1, norm_cfg)]
        branches += [conv_norm_relu(in_channels, channels, 3, norm_cfg, d) for d in dilations]
        self.features = nn.ModuleList(nn.Sequential(*branch) for branch in branches)
        self.img_conv = nn.Sequential(*conv_norm_relu(in_channels, channels, 1, norm_cfg))
        self.out_channels = channels * (1 + len(branches))

    def forward(self, features: Tensor) -> Tensor:
        """`(N, in_channels, h, w) -> (N, out_channels, h, w)`."""
        pooled = self.img_conv(F.adaptive_avg_pool2d(features, 1))
        # Upsampling one pixel repeats it.
        image = pooled.expand(-1, -1, *features.shape[-2:])
        return torch.cat([image, *(branch(features) for branch in self.features)], dim=1)


def conv_norm_relu(
    in_channels: int, channels: int, kernel: int, norm_cfg: dict, dilation: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the size, its normalisation and activation, as a list."""
    reach = dilation * (kernel // 2)
    return [
        nn.Conv2d(in_channels, channels, kernel, padding=reach, dilation=dilation, bias=False),
        build_norm_layer(norm_cfg, channels)[1],
        nn.ReLU(inplace=True),
    ]
