"""Weights of the classes alone for a decode head with more channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def widen_rows(
    state_dict: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    names: Sequence[str],
    num_classes: int,
) -> dict[str, Tensor]:
    """Return weights of the classes alone, extended by the model's own rows for other channels.

    Args:
        state_dict: weights to be loaded; not changed.
        own: weights of the model.
        names: keys of the classifier's weight and bias.
        num_classes: C. Only a tensor `(C, ...)` for one of `(C', ...)`, C' > C, is widened.

    Returns:
        The weights, with the first C rows of each named tensor from `state_dict` and the others
        from `own`.
    """
    widened = dict(state_dict)
    for name in names:
        rows, whole = state_dict.get(name), own.get(name)
        if rows is None or whole is None or rows.shape[:1] != (num_classes,):
            continue
        if whole.shape[0] > num_classes and whole.shape[1:] == rows.shape[1:]:
            widened[name] = torch.cat([rows.to(whole), whole[num_classes:].detach()])
    return widened
