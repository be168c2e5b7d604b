"""ERFNet as its authors publish it (Romera et al., 2018)."""

from __future__ import annotations

import re

from ood_seg.models.layouts.conversion import Layout

# Places in the `convs_layers` of mmsegmentation's NonBottleneck1d.
_PLACES = {
    "conv3x1_1": 0,
    "conv1x3_1": 2,
    "bn1": 3,
    "conv3x1_2": 5,
    "conv1x3_2": 7,
    "bn2": 8,
}
_RESIDUAL = "|".join(_PLACES)


def _renamed(match: re.Match) -> str:
    part, number, layer, rest = match.groups()
    # mmsegmentation counts the initial block as the encoder's first layer.
    place = int(number) + (part == "encoder")
    name = f"convs_layers.{_PLACES[layer]}" if layer in _PLACES else layer
    return f"backbone.{part}.{place}.{name}.{rest}"


LAYOUT = Layout(
    name="erfnet",
    title="ERFNet of its authors",
    mark=r"(module\.)?encoder\.initial_block\.",
    renames=(
        (r"encoder\.initial_block\.((conv|bn)\..+)", r"backbone.encoder.0.\1"),
        (rf"(encoder|decoder)\.layers\.(\d+)\.(conv|bn|{_RESIDUAL})\.(.+)", _renamed),
        (r"decoder\.output_conv\.(weight|bias)", r"decode_head.conv_seg.\1"),
    ),
    # The classifier that trained the encoder alone.
    dropped=(r"encoder\.output_conv\.(weight|bias)",),
    channel_dim=1,  # a transposed convolution
    configs={20: "posthoc/energy_erfnet-original_cityscapes"},
)
