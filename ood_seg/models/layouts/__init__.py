"""Key layouts of published checkpoints, and their conversion to mmsegmentation's.

Pure maps of names, one file per family of networks; needs torch alone. `ood-seg
convert-checkpoint` reads and writes the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood_seg.models.layouts import cgnet, erfnet, wide_resnet38
from ood_seg.models.layouts.conversion import Conversion, Layout, convert_with, split_checkpoint

# Of two layouts that share keys, the one with more of them comes first.
LAYOUTS: tuple[Layout, ...] = (*wide_resnet38.LAYOUTS, erfnet.LAYOUT, cgnet.LAYOUT)

__all__ = ["LAYOUTS", "Conversion", "Layout", "convert_checkpoint"]


def convert_checkpoint(
    checkpoint: Mapping[str, Any], *, origin: str = "the checkpoint"
) -> Conversion:
    """Recognise a published checkpoint by its keys and rename them to those of our models.

    Args:
        checkpoint: a loaded file: the weights, or a dict that holds them under `state_dict` or
            `model`.
        origin: name of the file in errors.

    Raises:
        ValueError: no weights, no known layout, or keys that the layout does not have; the first
            of them are listed.
    """
    weights, dropped = split_checkpoint(checkpoint, origin=origin)
    layout = next((layout for layout in LAYOUTS if layout.is_layout_of(weights)), None)
    if layout is None:
        raise ValueError(_unknown(list(weights), origin))
    return convert_with(layout, weights, dropped=dropped, origin=origin)


def _unknown(keys: list[str], origin: str) -> str:
    if any(key.startswith(("backbone.", "module.backbone.")) for key in keys):
        return f"{origin} has mmsegmentation's keys already ({keys[0]}); use it without conversion"
    known = "; ".join(layout.title for layout in LAYOUTS)
    shown = ", ".join(keys[:5])
    return (
        f"{origin} has none of the known layouts ({known}); "
        f"{len(keys)} unmatched keys: {shown}{', ...' if len(keys) > 5 else ''}"
    )
