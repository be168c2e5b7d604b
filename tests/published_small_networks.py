"""ERFNet and CGNet, written out as functions of their weights under their published names.

As `published_networks`: independent of mmsegmentation and of `ood_seg`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from published_networks import conv, norm, norm_shapes
from torch import Tensor

# ERFNet of Romera et al.

_ENCODER = {0: (16, 64), 6: (64, 128)}  # layers that halve the size
_DECODER = {0: (128, 64), 3: (64, 16)}  # layers that double it
_DILATIONS = {7: 2, 8: 4, 9: 8, 10: 16, 11: 2, 12: 4, 13: 8, 14: 16}


def erfnet_shapes(num_classes: int = 20) -> dict:
    shapes = {}

    def down(name, before, after):
        shapes[f"{name}.conv.weight"] = (after - before, before, 3, 3)
        shapes[f"{name}.conv.bias"] = (after - before,)
        shapes.update(norm_shapes(f"{name}.bn", after))

    def bottleneck(name, width):
        for index in (1, 2):
            for kernel in ((3, 1), (1, 3)):
                layer = f"{name}.conv{kernel[0]}x{kernel[1]}_{index}"
                shapes[f"{layer}.weight"] = (width, width, *kernel)
                shapes[f"{layer}.bias"] = (width,)
            shapes.update(norm_shapes(f"{name}.bn{index}", width))

    down("encoder.initial_block", 3, 16)
    width = 16
    for index in range(15):
        if index in _ENCODER:
            down(f"encoder.layers.{index}", *_ENCODER[index])
            width = _ENCODER[index][1]
        else:
            bottleneck(f"encoder.layers.{index}", width)
    shapes["encoder.output_conv.weight"] = (num_classes, 128, 1, 1)
    shapes["encoder.output_conv.bias"] = (num_classes,)
    for index in range(6):
        if index in _DECODER:
            before, width = _DECODER[index]
            shapes[f"decoder.layers.{index}.conv.weight"] = (before, width, 3, 3)
            shapes[f"decoder.layers.{index}.conv.bias"] = (width,)
            shapes.update(norm_shapes(f"decoder.layers.{index}.bn", width))
        else:
            bottleneck(f"decoder.layers.{index}", width)
    shapes["decoder.output_conv.weight"] = (16, num_classes, 2, 2)
    shapes["decoder.output_conv.bias"] = (num_classes,)
    return shapes


def erfnet(weights, image: Tensor) -> Tensor:
    """Logits at the image's size, which must be divisible by 8."""

    def down(name, maps):
        halves = [conv(weights, f"{name}.conv", maps, stride=2, padding=1), F.max_pool2d(maps, 2)]
        return norm(weights, f"{name}.bn", torch.cat(halves, dim=1), eps=1e-3).relu()

    def up(name, maps):
        kernel, bias = weights[f"{name}.conv.weight"], weights[f"{name}.conv.bias"]
        maps = F.conv_transpose2d(maps, kernel, bias, stride=2, padding=1, output_padding=1)
        return norm(weights, f"{name}.bn", maps, eps=1e-3).relu()

    def bottleneck(name, maps, dilation):
        inner = maps
        for index, rate in ((1, 1), (2, dilation)):
            tall = {"padding": (rate, 0), "dilation": (rate, 1)}
            flat = {"padding": (0, rate), "dilation": (1, rate)}
            inner = conv(weights, f"{name}.conv3x1_{index}", inner, **tall).relu()
            inner = conv(weights, f"{name}.conv1x3_{index}", inner, **flat)
            inner = norm(weights, f"{name}.bn{index}", inner, eps=1e-3)
            inner = inner.relu() if index == 1 else inner
        return (inner + maps).relu()

    maps = down("encoder.initial_block", image)
    for index in range(15):
        name = f"encoder.layers.{index}"
        halving = index in _ENCODER
        maps = down(name, maps) if halving else bottleneck(name, maps, _DILATIONS.get(index, 1))
    for index in range(6):
        name = f"decoder.layers.{index}"
        maps = up(name, maps) if index in _DECODER else bottleneck(name, maps, 1)
    kernel, bias = weights["decoder.output_conv.weight"], weights["decoder.output_conv.bias"]
    return F.conv_transpose2d(maps, kernel, bias, stride=2)


# CGNet M3N21 of Wu et al.


def cgnet_shapes(num_classes: int = 19) -> dict:
    shapes = {}

    def norm_act(name, width, act="act"):
        shapes.update(norm_shapes(f"{name}bn", width))
        shapes[f"{name}{act}.weight"] = (width,)

    def stem(name, before, after, kernel):
        shapes[f"{name}.conv.weight"] = (after, before, kernel, kernel)
        norm_act(f"{name}.", after)

    def block(name, before, after, reduction, *, first):
        inner = after if first else after // 2
        stem(f"{name}.conv1x1", before, inner, 3 if first else 1)
        shapes[f"{name}.F_loc.conv.weight"] = (inner, 1, 3, 3)
        shapes[f"{name}.F_sur.conv.weight"] = (inner, 1, 3, 3)
        norm_act(f"{name}." if first else f"{name}.bn_prelu.", 2 * inner)
        if first:
            shapes[f"{name}.reduce.conv.weight"] = (after, 2 * inner, 1, 1)
        for layer, (a, b) in {
            0: (after, after // reduction),
            2: (after // reduction, after),
        }.items():
            shapes[f"{name}.F_glo.fc.{layer}.weight"] = (b, a)
            shapes[f"{name}.F_glo.fc.{layer}.bias"] = (b,)

    for index, before in enumerate((3, 32, 32)):
        stem(f"level1_{index}", before, 32, 3)
    norm_act("b1.", 35)
    for stage, before, after, reduction, count in ((2, 35, 64, 8, 2), (3, 131, 128, 16, 20)):
        block(f"level{stage}_0", before, after, reduction, first=True)
        for index in range(count):
            block(f"level{stage}.{index}", after, after, reduction, first=False)
        norm_act(f"bn_prelu_{stage}.", 2 * after + (3 if stage == 2 else 0))
    shapes["classifier.0.conv.weight"] = (num_classes, 256, 1, 1)
    return shapes


def cgnet(weights, image: Tensor) -> Tensor:
    """Logits at the image's size."""

    def norm_act(name, maps):
        return F.prelu(norm(weights, f"{name}bn", maps, eps=1e-3), weights[f"{name}act.weight"])

    def stem(name, maps, stride, padding):
        maps = conv(weights, f"{name}.conv", maps, stride=stride, padding=padding)
        return norm_act(f"{name}.", maps)

    def block(name, maps, dilation, *, first):
        inner = (
            stem(f"{name}.conv1x1", maps, 2, 1) if first else stem(f"{name}.conv1x1", maps, 1, 0)
        )
        groups = inner.shape[1]
        near = conv(weights, f"{name}.F_loc.conv", inner, padding=1, groups=groups)
        rates = {"padding": dilation, "dilation": dilation}
        far = conv(weights, f"{name}.F_sur.conv", inner, groups=groups, **rates)
        joint = norm_act(f"{name}." if first else f"{name}.bn_prelu.", torch.cat([near, far], 1))
        if first:
            joint = conv(weights, f"{name}.reduce.conv", joint)
        gate = joint.mean(dim=(2, 3))
        for layer in (0, 2):
            matrix, bias = (weights[f"{name}.F_glo.fc.{layer}.{p}"] for p in ("weight", "bias"))
            gate = F.linear(gate, matrix, bias)
            gate = gate.relu() if layer == 0 else gate.sigmoid()
        joint = joint * gate[:, :, None, None]
        return joint if first else maps + joint

    half = F.avg_pool2d(image, 3, stride=2, padding=1)
    quarter = F.avg_pool2d(half, 3, stride=2, padding=1)
    maps = image
    for index in range(3):
        maps = stem(f"level1_{index}", maps, 2 if index == 0 else 1, 1)
    maps = norm_act("b1.", torch.cat([maps, half], dim=1))
    for stage, dilation in ((2, 2), (3, 4)):
        first = maps = block(f"level{stage}_0", maps, dilation, first=True)
        index = 0
        while f"level{stage}.{index}.conv1x1.conv.weight" in weights:
            maps = block(f"level{stage}.{index}", maps, dilation, first=False)
            index += 1
        parts = [maps, first, quarter] if stage == 2 else [first, maps]
        maps = norm_act(f"bn_prelu_{stage}.", torch.cat(parts, dim=1))
    logits = conv(weights, "classifier.0.conv", maps)
    return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=False)
