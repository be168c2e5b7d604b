"""DeepLabV3+ on WideResNet38: NVIDIA, Meta-OoD, PEBAL, Balanced Energy, RPL, DenseHybrid.

All share the names of the network (`WideResNet38` and `DeepWV3PlusHead` keep them, but for the
classifier `final.6`, which is `conv_seg` in mmsegmentation). They differ in what is wrapped around
it and in what is added.
"""

from __future__ import annotations

from ood_seg.models.layouts.conversion import Layout

_PREFIX = r"(module\.)?(branch1\.)?"
_NETWORK = (
    (r"mod[1-7]\..+", r"backbone.\g<0>"),
    (r"(aspp|bot_fine|bot_aspp|final\.[0-5])\..+", r"decode_head.\g<0>"),
    (r"final\.6\.weight", "decode_head.conv_seg.weight"),
)
# The weights of the classes in the loss, saved with the model.
_CRITERION = (r"criterion\..+",)
_CONFIGS = {
    19: "posthoc/energy_deepwv3plus-wrn38_cityscapes",
    20: "posthoc/energy_deepwv3plus-wrn38-20ch_cityscapes",
}

PEBAL = Layout(
    name="pebal",
    title="DeepLabV3+ WideResNet38 of PEBAL or Balanced Energy",
    mark=r"(module\.)?branch1\.mod[1-7]\.",
    prefix=_PREFIX,
    renames=_NETWORK,
    dropped=_CRITERION,
    configs=_CONFIGS,
)
NVIDIA = Layout(
    name="nvidia",
    title="DeepLabV3+ WideResNet38 of NVIDIA or Meta-OoD",
    mark=r"(module\.)?mod[1-7]\.",
    prefix=_PREFIX,
    renames=_NETWORK,
    dropped=_CRITERION,
    configs=_CONFIGS,
)
RPL = Layout(
    name="rpl",
    title="DeepLabV3+ WideResNet38 of RPL",
    mark=r"(module\.)?(branch1\.)?residual_block\.",
    prefix=_PREFIX,
    renames=(
        *_NETWORK,
        (r"residual_block\.atten_aspp\.(.+)", r"decode_head.residual_block.aspp.\1"),
        (r"residual_block\.bot_atten_aspp\.(.+)", r"decode_head.residual_block.bot_aspp.\1"),
        (r"residual_block\.atten_aspp_final\.(.+)", r"decode_head.residual_block.output.\1"),
    ),
    # The projection serves the contrastive loss in training alone.
    dropped=(*_CRITERION, r"residual_block\.proj_head\..+"),
    configs={19: "posthoc/residual-energy_deepwv3plus-wrn38_cityscapes"},
)
DENSE_HYBRID = Layout(
    name="densehybrid",
    title="DeepLabV3+ WideResNet38 of DenseHybrid",
    mark=r"(module\.)?logits_ood\.",
    prefix=_PREFIX,
    renames=(*_NETWORK, (r"logits_ood\.(norm|conv)\..+", r"decode_head.\g<0>")),
    dropped=_CRITERION,
    configs={19: "posthoc/dense-hybrid_deepwv3plus-wrn38_cityscapes"},
)
LAYOUTS = (RPL, DENSE_HYBRID, PEBAL, NVIDIA)
