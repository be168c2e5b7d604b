"""A network of a few thousand parameters, and samples for it."""

from __future__ import annotations

import torch

NUM_CLASSES = 5
NORM = {"type": "BN", "eps": 1e-3}


def model_config(num_classes: int = NUM_CLASSES, **changes) -> dict:
    """Config of a tiny ERFNet `OODEncoderDecoder`; `changes` replace or add entries."""
    config = {
        "type": "OODEncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": [127.5] * 3,
            "std": [64.0] * 3,
            "bgr_to_rgb": True,
            "size_divisor": 8,
            "test_cfg": {"size_divisor": 8},
        },
        "backbone": {
            "type": "ERFNet",
            "enc_downsample_channels": (4, 8, 16),
            "enc_stage_non_bottlenecks": (1, 1),
            "enc_non_bottleneck_dilations": (2,),
            "dec_upsample_channels": (8, 16),
            "dec_stages_non_bottleneck": (1, 1),
            "norm_cfg": NORM,
        },
        "decode_head": head_config(num_classes),
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }
    return config | changes


def head_config(num_classes: int = NUM_CLASSES, **changes) -> dict:
    """Config of a one-convolution head on the decoder's 16 channels."""
    config = {
        "type": "FCNHead",
        "in_channels": 16,
        "channels": 16,
        "num_convs": 0,
        "concat_input": False,
        "num_classes": num_classes,
        "norm_cfg": NORM,
    }
    return config | changes


def build(seed: int = 0, **changes):
    """Build the tiny network with seeded weights, in evaluation mode."""
    from mmengine.config import ConfigDict
    from mmseg.registry import MODELS

    torch.manual_seed(seed)
    model = MODELS.build(ConfigDict(model_config(**changes)))
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)  # logits of a few units
    _calibrate(model)
    return model.eval()


def _calibrate(model) -> None:
    """Give the batch norms statistics of noise, so that features vary over the picture."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain average
    with torch.no_grad():
        torch.nn.Module.train(model)(torch.randn(4, 3, 32, 48), mode="tensor")
    for norm in norms:
        norm.momentum = 0.1


def batch(
    count: int = 2, size: tuple[int, int] = (32, 48), seed: int = 0, *, outliers: bool = True
) -> dict:
    """Uncollated data of a loader: random images, labels with void and, if asked, outliers."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(seed)
    data = {"inputs": [], "data_samples": []}
    for index in range(count):
        labels = torch.randint(0, NUM_CLASSES, (1, *size), generator=generator)
        labels[:, :2] = 255
        if outliers:
            labels[:, 8:20, 10 : 20 + index] = 254
        sample = SegDataSample(metainfo={"ori_shape": size, "img_shape": size})
        sample.gt_sem_seg = PixelData(data=labels)
        data["inputs"].append(
            torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        )
        data["data_samples"].append(sample)
    return data


ENERGY_LOSS = {"type": "EnergyLoss", "margin_in": -5.0, "margin_out": 0.0, "loss_weight": 0.1}
