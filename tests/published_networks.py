"""The published networks, written out as functions of their weights under their published names.

Independent of mmsegmentation and of `ood_seg`: plain torch, evaluation mode. For each network a
table of names and shapes, and a forward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PUBLISHED_WIDTHS = {
    "stem": 64,
    "mods": (
        (128, 128),
        (256, 256),
        (512, 512),
        (512, 1024),
        (512, 1024, 2048),
        (1024, 2048, 4096),
    ),
    "blocks": (3, 3, 6, 3, 1, 1),
    "head": 256,
    "low": 48,
}
SMALL_WIDTHS = {
    "stem": 4,
    "mods": ((8, 8), (6, 6), (10, 10), (10, 12), (6, 8, 14), (8, 10, 16)),
    "blocks": (2, 1, 2, 2, 1, 1),
    "head": 8,
    "low": 5,
}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Weights that keep activations near one, with batch-norm statistics that matter."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            weights[name] = torch.randn(shape, generator=generator) * (1.5 / fan_in) ** 0.5
        elif name.endswith(("running_var", "weight")):
            weights[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            weights[name] = torch.randn(shape, generator=generator) * 0.2
    return weights


def weightless(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of these shapes that take no memory, and no space in a file."""
    return {
        name: torch.ones(1).expand(shape) if shape else torch.tensor(0)
        for name, shape in shapes.items()
    }


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def conv(weights, name: str, maps: Tensor, **options) -> Tensor:
    return F.conv2d(maps, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **options)


def norm(weights, name: str, maps: Tensor, eps: float = 1e-5) -> Tensor:
    parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(maps, *parts, training=False, eps=eps)


def upsample(maps: Tensor, size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


# DeepLabV3+ on WideResNet38


def deep_wv3_plus_shapes(widths=PUBLISHED_WIDTHS, num_classes: int = 19) -> dict:
    shapes = {"mod1.conv1.weight": (widths["stem"], 3, 3, 3)}
    width = widths["stem"]
    for mod, (channels, count) in enumerate(zip(widths["mods"], widths["blocks"], strict=True), 2):
        for block in range(1, count + 1):
            name = f"mod{mod}.block{block}"
            inside = (width, *channels)
            for index, (before, after) in enumerate(zip(inside, channels, strict=False), start=1):
                bn = f"{name}.bn1.0" if index == 1 else f"{name}.convs.bn{index}.0"
                kernel = 3 if len(channels) == 2 or index == 2 else 1
                shapes |= norm_shapes(bn, before)
                shapes[f"{name}.convs.conv{index}.weight"] = (after, before, kernel, kernel)
            if block == 1:
                shapes[f"{name}.proj_conv.weight"] = (channels[-1], width, 1, 1)
            width = channels[-1]
    head, low = widths["head"], widths["low"]
    shapes |= aspp_shapes("aspp", width, head)
    shapes["bot_fine.weight"] = (low, widths["mods"][0][-1], 1, 1)
    shapes["bot_aspp.weight"] = (head, 5 * head, 1, 1)
    shapes["final.0.weight"] = (head, head + low, 3, 3)
    shapes |= norm_shapes("final.1", head)
    shapes["final.3.weight"] = (head, head, 3, 3)
    shapes |= norm_shapes("final.4", head)
    shapes["final.6.weight"] = (num_classes, head, 1, 1)
    return shapes


def aspp_shapes(name: str, width: int, head: int) -> dict:
    shapes = {}
    for index in range(4):
        kernel = 1 if index == 0 else 3
        shapes[f"{name}.features.{index}.0.weight"] = (head, width, kernel, kernel)
        shapes |= norm_shapes(f"{name}.features.{index}.1", head)
    shapes[f"{name}.img_conv.0.weight"] = (head, width, 1, 1)
    return shapes | norm_shapes(f"{name}.img_conv.1", head)


def rpl_shapes(widths=PUBLISHED_WIDTHS) -> dict:
    head, low, width = widths["head"], widths["low"], widths["mods"][-1][-1]
    return deep_wv3_plus_shapes(widths) | {
        **aspp_shapes("residual_block.atten_aspp", width, head),
        "residual_block.bot_atten_aspp.weight": (head, 5 * head, 1, 1),
        "residual_block.atten_aspp_final.weight": (head + low, head, 1, 1),
        "residual_block.proj_head.proj.0.weight": (head + low, head, 1, 1),
        "residual_block.proj_head.proj.0.bias": (head + low,),
    }


def dense_hybrid_shapes(widths=PUBLISHED_WIDTHS) -> dict:
    fused = widths["head"] + widths["low"]
    return deep_wv3_plus_shapes(widths) | {
        **norm_shapes("logits_ood.norm", fused),
        "logits_ood.conv.weight": (2, fused, 1, 1),
        "logits_ood.conv.bias": (2,),
    }


def wide_resnet(weights, image: Tensor) -> tuple[Tensor, Tensor]:
    maps = conv(weights, "mod1.conv1", image, padding=1)
    for mod in range(2, 8):
        if mod <= 3:
            maps = F.max_pool2d(maps, kernel_size=3, stride=2, padding=1)
        dilation = {5: 2, 6: 4, 7: 4}.get(mod, 1)
        block = 1
        while f"mod{mod}.block{block}.bn1.0.weight" in weights:
            stride = 2 if (mod, block) == (4, 1) else 1
            maps = residual(weights, f"mod{mod}.block{block}", maps, stride, dilation)
            block += 1
        if mod == 2:
            low = maps
    return low, maps


def residual(weights, name: str, maps: Tensor, stride: int, dilation: int) -> Tensor:
    active = norm(weights, f"{name}.bn1.0", maps).relu()
    shortcut = maps
    if f"{name}.proj_conv.weight" in weights:
        shortcut = conv(weights, f"{name}.proj_conv", active, stride=stride)
    if f"{name}.convs.conv3.weight" not in weights:
        wide = {"padding": dilation, "dilation": dilation}
        inner = conv(weights, f"{name}.convs.conv1", active, stride=stride, **wide)
        inner = norm(weights, f"{name}.convs.bn2.0", inner).relu()
        return shortcut + conv(weights, f"{name}.convs.conv2", inner, **wide)
    inner = conv(weights, f"{name}.convs.conv1", active, stride=stride)
    inner = norm(weights, f"{name}.convs.bn2.0", inner).relu()
    inner = conv(weights, f"{name}.convs.conv2", inner, padding=dilation, dilation=dilation)
    inner = norm(weights, f"{name}.convs.bn3.0", inner).relu()
    return shortcut + conv(weights, f"{name}.convs.conv3", inner)


def pyramid(weights, name: str, maps: Tensor) -> Tensor:
    pooled = conv(weights, f"{name}.img_conv.0", maps.mean(dim=(2, 3), keepdim=True))
    branches = [upsample(norm(weights, f"{name}.img_conv.1", pooled).relu(), maps.shape[2:])]
    for index, rate in enumerate((0, 12, 24, 36)):
        options = {"padding": rate, "dilation": rate} if rate else {}
        branch = conv(weights, f"{name}.features.{index}.0", maps, **options)
        branches.append(norm(weights, f"{name}.features.{index}.1", branch).relu())
    return torch.cat(branches, dim=1)


def final(weights, fused: Tensor, size) -> Tensor:
    maps = norm(weights, "final.1", conv(weights, "final.0", fused, padding=1)).relu()
    maps = norm(weights, "final.4", conv(weights, "final.3", maps, padding=1)).relu()
    return upsample(conv(weights, "final.6", maps), size)


def deep_wv3_plus(weights, image: Tensor) -> tuple[Tensor, ...]:
    """Logits at the image's size, and those of what the weights have besides.

    Returns:
        `(logits,)`; RPL: `(logits, corrected logits)`; DenseHybrid: `(logits, outlier logits)`.
    """
    low, high = wide_resnet(weights, image)
    size = image.shape[2:]
    context = upsample(conv(weights, "bot_aspp", pyramid(weights, "aspp", high)), low.shape[2:])
    fused = torch.cat([conv(weights, "bot_fine", low), context], dim=1)
    logits = final(weights, fused, size)
    if "residual_block.bot_atten_aspp.weight" in weights:
        inner = pyramid(weights, "residual_block.atten_aspp", high)
        inner = upsample(conv(weights, "residual_block.bot_atten_aspp", inner), low.shape[2:])
        correction = conv(weights, "residual_block.atten_aspp_final", inner)
        return logits, final(weights, fused + correction, size)
    if "logits_ood.conv.weight" in weights:
        active = norm(weights, "logits_ood.norm", fused).relu()
        return logits, upsample(conv(weights, "logits_ood.conv", active), size)
    return (logits,)
