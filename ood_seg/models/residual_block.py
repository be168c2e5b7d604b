"""The trained part of residual pattern learning: a pyramid and the residual made from it."""

from __future__ import annotations

import copy

import torch
from mmengine.model import BaseModule, kaiming_init
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ood_seg.models.deep_wv3_plus_head import ImagePoolingASPP
from ood_seg.models.freezing import fix_norm_statistics
from ood_seg.models.layer_fusion import LayerFusion


class CopiedASPP(nn.Module):
    """Pyramid with the layers of an mmseg `ASPPHead`, or of a head derived from it."""

    def __init__(self, head: BaseDecodeHead) -> None:
        super().__init__()
        self.image_pool = copy.deepcopy(head.image_pool)
        self.aspp_modules = copy.deepcopy(head.aspp_modules)
        self.out_channels = head.channels * (1 + len(self.aspp_modules))

    def forward(self, features: Tensor) -> Tensor:
        """`(N, in_channels, h, w) -> (N, out_channels, h, w)`, pooled image first."""
        image = self.image_pool(features).expand(-1, -1, *features.shape[-2:])
        return torch.cat([image, *self.aspp_modules(features)], dim=1)


class ResidualPatternBlock(BaseModule):
    """Pyramid, 1x1 bottleneck, and from there the residual and the projection, both 1x1.

    Args:
        aspp: pyramid with an attribute `out_channels`.
        channels: of the bottleneck.
        out_channels: of the features that the residual is added to.
        fusion: of the layers, for the pyramid; None: it reads the head's input.
        initial_output, norm_statistics, projection_channels: see `ResidualPatternMixin`.

    Raises:
        ValueError: for an option that is none of those listed.
    """

    def __init__(
        self,
        aspp: ImagePoolingASPP | CopiedASPP,
        channels: int,
        out_channels: int,
        *,
        fusion: LayerFusion | None = None,
        initial_output: str = "zeros",
        norm_statistics: str = "updated",
        projection_channels: int = 0,
    ) -> None:
        super().__init__()
        if initial_output not in ("zeros", "kaiming") or norm_statistics not in (
            "updated",
            "fixed",
        ):
            raise ValueError(
                "block expects initial_output 'zeros' or 'kaiming' and norm_statistics 'updated' "
                f"or 'fixed', got {initial_output!r} and {norm_statistics!r}"
            )
        self.initial_output = initial_output
        # Read by `fix_norm_statistics`.
        self.keeps_norm_mode = norm_statistics == "updated"
        self.fusion = fusion
        self.aspp = aspp
        self.bot_aspp = nn.Conv2d(aspp.out_channels, channels, 1, bias=False)
        self.output = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.projection = (
            nn.Conv2d(channels, projection_channels, 1) if projection_channels else None
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise every convolution after Kaiming, the output as `initial_output` sets it."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kaiming_init(layer, mode="fan_in")
        if self.initial_output == "zeros":
            nn.init.zeros_(self.output.weight)
        else:
            self.output.requires_grad_(False)

    def train(self, mode: bool = True) -> ResidualPatternBlock:
        """Set the mode; fixed batch-norm statistics stay in use."""
        super().train(mode)
        if mode and not self.keeps_norm_mode:
            fix_norm_statistics(self)
        return self

    def forward(self, features: Tensor) -> Tensor:
        """`(N, in_channels, h, w) -> (N, channels, h, w)`, what both 1x1 convolutions read."""
        return self.bot_aspp(self.aspp(features))
