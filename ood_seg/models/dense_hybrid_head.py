"""Decode head of DenseHybrid: class logits, and beside them the logits of inlier and outlier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from mmcv.cnn import build_norm_layer
from mmseg.registry import MODELS
from torch import Tensor, nn

from ood_seg.models.deep_wv3_plus_head import DeepWV3PlusHead


@MODELS.register_module()
class DenseHybridHead(DeepWV3PlusHead):
    """`DeepWV3PlusHead` with a second classifier, of two channels, on the fused features.

    ```
    fuse() (N,304,h,w) -> final -> conv_seg ----------------> class logits (N,K,h,w) --------.
              `---------> logits_ood: norm, ReLU, 1x1 ------> inlier, outlier (N,2,h,w) -----+->
    ```

    For the score `DenseHybrid` on all channels: `energy_head=dict(num_classes=19,
    score=dict(type="DenseHybrid"))`. `DenseHybridLoss` trains it; the configs train a
    `LearnedHead` instead, beside any network.

    Source: Grcic, Bevandic and Segvic, "DenseHybrid: Hybrid Anomaly Detection for Dense Open-set
    Recognition", ECCV 2022, and the code released with it.

    Parameters beside those of `DeepWV3PlusHead` keep the published names: `logits_ood.norm.*`,
    `logits_ood.conv.{weight,bias}`.

    Args:
        **kwargs: as for `DeepWV3PlusHead`; `num_classes` is K.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.logits_ood = nn.Sequential(
            OrderedDict(
                norm=build_norm_layer(self.norm_cfg, self.fused_channels)[1],
                relu=nn.ReLU(),
                conv=nn.Conv2d(self.fused_channels, 2, 1),
            )
        )
        self.out_channels = self.num_classes + 2  # of the output

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Class logits, then the logits of inlier and outlier, `(N, K + 2, h, w)`."""
        fused = self.fuse(inputs)
        return torch.cat([self.classify(fused), self.logits_ood(fused)], dim=1)
