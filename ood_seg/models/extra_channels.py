"""Weights of the classes alone for a decode head with more channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ood_seg.models.decode_outputs import classifier_name

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


def fitting_weights(
    model: OODEncoderDecoder, state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Weights of a model of the classes alone, made to fit a decode head with more channels.

    The first rows of the classifier come from `state_dict`, the others are the model's own. The
    classifier is mmseg's `conv_seg`, or the submodule that the decode head names in its attribute
    `classifier_name`.
    """
    if model.decode_head.out_channels == model.num_classes:
        return dict(state_dict)
    classifier = classifier_name(model.decode_head)
    names = [f"decode_head.{classifier}.{part}" for part in ("weight", "bias")]
    return widen_rows(state_dict, model.state_dict(), names, model.num_classes)


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
