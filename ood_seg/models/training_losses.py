"""Training losses of an `OODEncoderDecoder`.

```
images -> extract_feat() -> auxiliary_losses(), outliers hidden
                        `-> decode_head.forward() -> outputs -> decode_losses(), outliers hidden
                                                       `-> main_logits(), channels of a learned
                                                       |   head -------> energy_head losses
                                                       |                |   `-> cross entropy
                                                       |                `-> teacher.loss()
                                                       `-> decode_head.feature_losses(), if any
```

Where the closed-set loss is a plain cross entropy, it comes from the logsumexps of an outlier loss
in place of `decode_losses`; see `joint_closed_set`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ood_seg.labels import IGNORE, hide_ignored, hide_outliers
from ood_seg.models.decode_outputs import (
    main_logits,
    require_edges,
    stacked_labels,
    trains_several_maps,
)
from ood_seg.models.joint_closed_set import is_joint, joint_closed_set_losses, sharing_loss
from ood_seg.models.learned_head import reading_layers

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


def training_losses(
    model: OODEncoderDecoder, inputs: Tensor, data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    """Closed-set losses (outliers hidden), outlier losses and distillation.

    Args:
        model: without an anomaly branch.
        inputs: `(N, 3, H, W)`, preprocessed.
        data_samples: with `gt_sem_seg`, labels 0..C-1, `OUTLIER` and `IGNORE`.

    Raises:
        ValueError: see `OODEncoderDecoder.loss`.
    """
    head, energy_head = model.decode_head, model.energy_head
    with reading_layers(model) as with_channels:
        features = model.extract_feat(inputs)
        outputs = head(features)
    labels = hide_ignored(stacked_labels(data_samples), model.ignore_index)
    logits = with_channels(main_logits(head, outputs, model.logits_index))
    resized = resize(
        logits, size=labels.shape[-2:], mode="bilinear", align_corners=model.align_corners
    )
    joint = model.closed_set_loss and model.logits_index is None and is_joint(head, outputs)
    joint = joint and sharing_loss(energy_head.losses) is not None
    outlier_losses, terms = energy_head.loss_and_terms(resized, labels, cross_entropy=joint)
    losses = {}
    if joint:
        assert terms is not None
        class_logits = energy_head.class_logits(resized)
        closed_set = joint_closed_set_losses(head, class_logits, labels, terms)
        losses.update(add_prefix(closed_set, "decode"))
    elif model.closed_set_loss:
        losses.update(decode_losses(model, outputs, data_samples))
    if model.closed_set_loss and model.with_auxiliary_head:
        losses.update(auxiliary_losses(model, features, data_samples))
    losses.update(add_prefix(outlier_losses, "anomaly"))
    if hasattr(head, "feature_losses"):
        losses.update(add_prefix(head.feature_losses(data_samples), "anomaly"))
    for teacher in model._teacher:
        class_logits = model.energy_head.class_logits(logits)
        losses["loss_distillation"] = teacher.loss(inputs, class_logits, labels)
    return losses


def decode_losses(
    model: OODEncoderDecoder,
    outputs: Tensor | Sequence[Tensor],
    data_samples: list[SegDataSample],
) -> dict[str, Tensor]:
    """mmseg's own losses of the decode head's class channels, outliers hidden.

    Args:
        model: without an anomaly branch.
        outputs: of the decode head's `forward`.
        data_samples: see `training_losses`.

    Raises:
        ValueError: the head lacks maps or edges that it trains on.
    """
    head = model.decode_head
    require_edges(head, data_samples)
    if isinstance(outputs, Tensor):
        if model.logits_index is not None or trains_several_maps(head):
            raise ValueError(
                f"{type(head).__name__} needs for its closed-set loss the further maps of "
                "training, which an anomaly branch does not compute: set closed_set_loss=False"
            )
        outputs = model.energy_head.class_logits(outputs)
    return add_prefix(head.loss_by_feat(outputs, _known_samples(model, data_samples)), "decode")


def auxiliary_losses(
    model: OODEncoderDecoder, features: tuple[Tensor, ...], data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    """mmseg's own losses of the auxiliary heads, outliers hidden.

    Args:
        model: without an anomaly branch.
        features: of the batch.
        data_samples: see `training_losses`.

    Raises:
        ValueError: they ignore another label than the decode head.
    """
    _require_same_ignored_label(model.auxiliary_head, model.ignore_index)
    return model._auxiliary_head_forward_train(features, _known_samples(model, data_samples))


def _known_samples(
    model: OODEncoderDecoder, data_samples: list[SegDataSample]
) -> list[SegDataSample]:
    return [_without_outliers(sample, model.ignore_index) for sample in data_samples]


def _require_same_ignored_label(auxiliary: nn.Module, ignored: int) -> None:
    """Refuse heads that ignore another label: they would train on the hidden outliers."""
    heads: list[Any] = [*auxiliary] if isinstance(auxiliary, nn.ModuleList) else [auxiliary]
    for head in heads:
        if head.ignore_index != ignored:
            raise ValueError(
                f"decode_head.ignore_index is {ignored} and that of an auxiliary head is "
                f"{head.ignore_index}; give both the same"
            )


def _without_outliers(sample: SegDataSample, ignored: int) -> SegDataSample:
    """A copy of the sample in which outlier and ignored pixels have the ignored label."""
    known = SegDataSample(metainfo=sample.metainfo)
    known.set_data(dict(sample.items()))
    labels = hide_outliers(sample.gt_sem_seg.data, ignore_index=ignored)
    known.gt_sem_seg = PixelData(data=labels.masked_fill(labels == IGNORE, ignored))
    return known
