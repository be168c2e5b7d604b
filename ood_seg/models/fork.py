"""Where an anomaly branch leaves the segmentor: from patterns to the modules to be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ood_seg.models.freezing import matching_names

PARTS = ("backbone", "neck", "decode_head")
# Torch has two implementations of these, which round differently; called whole, they choose alike.
_INDIVISIBLE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


def fork_patterns(options: Mapping[str, Any]) -> Sequence[str]:
    """The patterns of the option `anomaly_branch` of `OODEncoderDecoder`.

    Raises:
        ValueError: another option than `fork`, or no list of patterns.
    """
    fork = options.get("fork", ())
    are_patterns = isinstance(fork, Sequence) and all(isinstance(one, str) for one in fork)
    if set(options) != {"fork"} or not are_patterns:
        raise ValueError(
            "anomaly_branch expects fork, a list of shell patterns such as ['decode_head.*'], "
            f"got {dict(options)}"
        )
    return fork


def copied_names(model: nn.Module, fork: Sequence[str]) -> list[str]:
    """Names of the largest modules of which every tensor belongs to a module with a match."""
    tensors = [name for name in model.state_dict(keep_vars=True) if name.split(".")[0] in PARTS]
    if not fork:
        raise ValueError("anomaly_branch.fork needs at least one pattern, such as 'decode_head.*'")
    holders = {name.rpartition(".")[0] for name in matching_names(tensors, fork)}

    def is_copied(tensor: str) -> bool:
        parts = tensor.split(".")[:-1]
        return any(".".join(parts[:count]) in holders for count in range(1, len(parts) + 1))

    def largest(name: str) -> list[str]:
        module = model.get_submodule(name)
        inside = [is_copied(tensor) for tensor in tensors if tensor.startswith(f"{name}.")]
        if inside and (all(inside) or (any(inside) and isinstance(module, _INDIVISIBLE))):
            return [name]
        children = [f"{name}.{child}" for child, _ in module.named_children()]
        return [found for child in children for found in largest(child)]

    return [found for part in PARTS if hasattr(model, part) for found in largest(part)]
