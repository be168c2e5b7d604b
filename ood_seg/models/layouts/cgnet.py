"""CGNet as its authors publish it (Wu et al., 2018)."""

from __future__ import annotations

import re

from ood_seg.models.layouts.conversion import Layout

# Names inside a block; the first block of a stage has `bn`, `act` and `reduce` of its own.
_PARTS = {
    "conv1x1.conv": "conv1x1.conv",
    "conv1x1.bn": "conv1x1.bn",
    "conv1x1.act": "conv1x1.activate",
    "F_loc.conv": "f_loc",
    "F_sur.conv": "f_sur",
    "bn": "bn",
    "act": "activate",
    "bn_prelu.bn": "bn",
    "bn_prelu.act": "activate",
    "reduce.conv": "bottleneck",
    "F_glo.fc.0": "f_glo.fc.0",
    "F_glo.fc.2": "f_glo.fc.2",
}
_PART = "|".join(map(re.escape, _PARTS))
_NORM_PRELU = {"b1": 0, "bn_prelu_2": 1, "bn_prelu_3": 2}


def _in_first_block(match: re.Match) -> str:
    stage, part, rest = match.groups()
    return f"backbone.level{int(stage) - 1}.0.{_PARTS[part]}.{rest}"


def _in_other_block(match: re.Match) -> str:
    stage, number, part, rest = match.groups()
    return f"backbone.level{int(stage) - 1}.{int(number) + 1}.{_PARTS[part]}.{rest}"


def _norm_prelu(match: re.Match) -> str:
    name, layer, rest = match.groups()
    return f"backbone.norm_prelu_{_NORM_PRELU[name]}.{('bn', 'act').index(layer)}.{rest}"


LAYOUT = Layout(
    name="cgnet",
    title="CGNet of its authors",
    mark=r"(module\.)?level1_0\.",
    renames=(
        (r"level1_([0-2])\.(conv|bn)\.(.+)", r"backbone.stem.\1.\2.\3"),
        (r"level1_([0-2])\.act\.weight", r"backbone.stem.\1.activate.weight"),
        (r"(b1|bn_prelu_2|bn_prelu_3)\.(bn|act)\.(.+)", _norm_prelu),
        (rf"level([23])_0\.({_PART})\.([^.]+)", _in_first_block),
        (rf"level([23])\.(\d+)\.({_PART})\.([^.]+)", _in_other_block),
        # 1 behind dropout, 0 without.
        (r"classifier\.[01]\.conv\.weight", "decode_head.conv_seg.weight"),
    ),
    zero_bias=True,
    configs={19: "posthoc/energy_fcn-cgnet_cityscapes"},
)
