"""Image sizes that a backbone takes."""

from __future__ import annotations

import math

from mmseg.models.backbones import UNet
from mmseg.models.data_preprocessor import SegDataPreProcessor
from torch import nn


def size_divisor(backbone: nn.Module) -> int:
    """Return the number whose multiples a backbone takes as height and width; 1: it takes any."""
    if not isinstance(backbone, UNet):
        return 1
    halved = zip(backbone.strides[1 : backbone.num_stages], backbone.downsamples, strict=False)
    return 2 ** sum(stride == 2 or downsample for stride, downsample in halved)


def pad_to_accepted_sizes(preprocessor: nn.Module, backbone: nn.Module) -> None:
    """Let a preprocessor pad test images to sizes that the backbone takes.

    Predictions are cut back to the image afterwards. A fixed padded size of the config stays.

    Args:
        preprocessor: of the model; its `test_cfg` is replaced where it must be.
        backbone: of the model.
    """
    needed = size_divisor(backbone)
    if needed == 1 or not isinstance(preprocessor, SegDataPreProcessor):
        return
    padding = dict(preprocessor.test_cfg or {})
    if padding.get("size") is None:
        padding["size_divisor"] = math.lcm(needed, padding.get("size_divisor") or 1)
        preprocessor.test_cfg = padding
