"""A layout of published weights, and its application to a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_SHOWN_KEYS = 5
Rename = tuple[str, str | Callable[[re.Match], str]]


@dataclass(frozen=True)
class Layout:
    """The names of a published checkpoint, and the new name of each.

    Attributes:
        name: short, for the converted file.
        title: network and publishers, for messages.
        mark: regular expression; a checkpoint with a key that begins so has this layout.
        renames: pairs of a regular expression, which has to match a whole key (without its
            prefix), and the new key as `re.Match.expand` or a function makes it. The first
            match counts.
        configs: shipped config by number of output channels.
        prefix: regular expression of what wrappers left in front of the keys.
        dropped: regular expressions of whole keys that are no part of the network.
        classifier: new key of the classifier's weight.
        channel_dim: dimension of that weight that counts output channels.
        zero_bias: whether the classifier has no bias here but has one in mmsegmentation.
    """

    name: str
    title: str
    mark: str
    renames: tuple[Rename, ...]
    configs: Mapping[int, str]
    prefix: str = r"(module\.)?"
    dropped: tuple[str, ...] = ()
    classifier: str = "decode_head.conv_seg.weight"
    channel_dim: int = 0
    zero_bias: bool = False

    def is_layout_of(self, keys: Mapping[str, Any]) -> bool:
        """Whether a key carries the mark of this layout."""
        return any(re.match(self.mark, key) for key in keys)

    def renamed(self, key: str) -> str | None:
        """The new name of a key; empty for one that is dropped, None for one not known."""
        bare = re.sub(f"^{self.prefix}", "", key)
        if any(re.fullmatch(pattern, bare) for pattern in self.dropped):
            return ""
        for pattern, new in self.renames:
            match = re.fullmatch(pattern, bare)
            if match:
                return new(match) if callable(new) else match.expand(new)
        return None


@dataclass(frozen=True)
class Conversion:
    """Converted weights, with a record of the conversion.

    Attributes:
        layout: what the checkpoint was recognised as.
        state_dict: weights under their new names.
        dropped: entries and keys that were left out.
        added: new keys that the checkpoint did not have.
        num_channels: output channels of the classifier.
    """

    layout: Layout
    state_dict: dict[str, Tensor]
    dropped: tuple[str, ...]
    added: tuple[str, ...]
    num_channels: int

    def config(self, *, origin: str = "the checkpoint") -> str:
        """Return the shipped config that the weights fit.

        Args:
            origin: name of the file in the error.

        Raises:
            ValueError: none is shipped for this number of output channels.
        """
        configs = self.layout.configs
        if self.num_channels not in configs:
            raise ValueError(
                f"{origin} is {self.layout.title} with {self.num_channels} output channels; there "
                f"are configs for {' and '.join(map(str, configs))}. For others write one "
                f"(`ood-seg configs --copy {next(iter(configs.values()))} mine.py`, "
                "decode_head.num_classes) and name it by --config"
            )
        return configs[self.num_channels]


def split_checkpoint(
    checkpoint: Mapping[str, Any], *, origin: str = "the checkpoint"
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights of a checkpoint and the names of everything else in it.

    Raises:
        ValueError: it holds no tensors by name.
    """
    holder = next(
        (n for n in ("state_dict", "model") if isinstance(checkpoint.get(n), Mapping)), ""
    )
    entries = checkpoint[holder] if holder else checkpoint
    weights = {str(key): value for key, value in entries.items() if isinstance(value, Tensor)}
    if not weights:
        raise ValueError(
            f"{origin} holds no weights: expected tensors by name, found the entries "
            f"{sorted(map(str, checkpoint))[:_SHOWN_KEYS]}"
        )
    others = [str(name) for name in checkpoint if holder and name != holder]
    others += [str(key) for key in entries if str(key) not in weights]
    return weights, tuple(others)


def convert_with(
    layout: Layout,
    weights: Mapping[str, Tensor],
    *,
    dropped: tuple[str, ...] = (),
    origin: str = "the checkpoint",
) -> Conversion:
    """Return the weights of a checkpoint under the names of its layout.

    Args:
        layout: the layout that the weights have.
        weights: as published.
        dropped: names that were left out before.
        origin: name of the file in errors.

    Raises:
        ValueError: keys that the layout does not have, two keys with one new name, or no
            classifier.
    """
    names = {key: layout.renamed(key) for key in weights}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        rest = ", ..." if len(unknown) > _SHOWN_KEYS else ""
        raise ValueError(
            f"{origin} looks like {layout.title}, but {len(unknown)} of its {len(weights)} keys "
            f"have no place there: {', '.join(unknown[:_SHOWN_KEYS])}{rest}"
        )
    state_dict = {name: weights[key].detach() for key, name in names.items() if name}
    if len(state_dict) < sum(map(bool, names.values())):
        raise ValueError(f"{origin} names some weights twice, with and without a prefix")
    if layout.classifier not in state_dict:
        raise ValueError(f"{origin} looks like {layout.title}, but has no classifier")
    num_channels = state_dict[layout.classifier].shape[layout.channel_dim]
    added: tuple[str, ...] = ()
    if layout.zero_bias:
        bias = layout.classifier.replace(".weight", ".bias")
        state_dict[bias] = state_dict[layout.classifier].new_zeros(num_channels)
        added = (bias,)
    left_out = (*dropped, *(key for key, name in names.items() if name == ""))
    return Conversion(layout, state_dict, left_out, added, num_channels)
