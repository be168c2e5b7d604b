"""Decode head of ERFNet as its authors publish it."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ERFNetHead(BaseDecodeHead):
    """A 2x2 transposed convolution from half to full resolution.

    Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic
    Segmentation" (2018). mmsegmentation puts an `FCNHead` on its ERFNet instead, a 1x1
    convolution and bilinear upsampling, into which the authors' weights do not fit: they hold four
    1x1 convolutions, one for each pixel of a 2x2 square.

    `conv_seg.weight` is `(in_channels, num_classes, 2, 2)`: its channels lie in dimension 1. The
    authors' network has a void channel after the 19 classes: `num_classes` is 20 here and 19 in
    the energy head.

    Args:
        in_channels: of the backbone's last features.
        dropout_ratio, init_cfg, ...: as for `BaseDecodeHead`; no dropout by default.
    """

    def __init__(self, in_channels: int = 16, *, dropout_ratio: float = 0.0, **kwargs) -> None:
        super().__init__(in_channels, in_channels, dropout_ratio=dropout_ratio, **kwargs)
        self.conv_seg = nn.ConvTranspose2d(in_channels, self.out_channels, 2, stride=2)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits at full resolution, `(N, in_channels, h, w) -> (N, num_classes, 2h, 2w)`."""
        return self.cls_seg(self._transform_inputs(inputs))
