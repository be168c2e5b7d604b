"""What a decode head with more channels than classes needs: wider weights, whole predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ood_seg.models.energy_head import EnergyHead


def widen_rows(
    state_dict: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    names: Sequence[str],
    num_classes: int,
) -> dict[str, Tensor]:
    """Fill weights of the classes alone up to a model's channels with the model's own rows.

    Args:
        state_dict: weights to be loaded; stays as it is.
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


def add_prediction(sample: SegDataSample, logits: Tensor, energy_head: EnergyHead) -> None:
    """Set logits, labels and anomaly map of one image.

    Args:
        sample: is given `seg_logits (C, H, W)`, `pred_sem_seg (1, H, W)`, `pred_anomaly
            (1, H, W)`, and `all_logits (C', H, W)` if the score needs all channels.
        logits: `(C', H, W)`: all channels if the score needs them, else at least the classes.
        energy_head: knows the classes and the score.
    """
    class_logits = energy_head.class_logits(logits[None])[0]
    values = {
        "seg_logits": class_logits,
        "pred_sem_seg": class_logits.argmax(dim=0, keepdim=True),
        "pred_anomaly": energy_head.predict(logits[None]),
    }
    if energy_head.scores_all_channels:
        values["all_logits"] = logits
    sample.set_data({name: PixelData(data=data) for name, data in values.items()})
