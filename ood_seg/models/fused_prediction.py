"""Labels and anomaly maps straight from the decode head's logits, which stay small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor

from ood_seg.full_resolution import MAX_CLASSES, labels_and_scores

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


def can_predict_fused(
    model: OODEncoderDecoder, data_samples: Sequence[SegDataSample] | None
) -> bool:
    """Whether a prediction needs no full-size logits.

    Not where windows are averaged, an image is flipped back, the decode head has an inference of
    its own, the score reads more than its pixel's logits, or the labels would not fit into a byte.
    """
    head = type(model.decode_head)
    return (
        model.test_cfg.get("mode", "whole") == "whole"
        and head.predict is BaseDecodeHead.predict
        and head.predict_by_feat is BaseDecodeHead.predict_by_feat
        and model.energy_head.needs == "logits"
        and getattr(model.energy_head.score, "pointwise", True)
        and model.num_classes <= MAX_CLASSES
        and not any(sample.metainfo.get("flip") for sample in data_samples or ())
    )


def predict_fused(
    model: OODEncoderDecoder, inputs: Tensor, data_samples: list[SegDataSample] | None
) -> list[SegDataSample]:
    """What `EncoderDecoder.predict` gives, without the logits.

    Args:
        model: for which `can_predict_fused` is true.
        inputs: `(N, 3, H', W')`, preprocessed.
        data_samples: of the images, or None.

    Returns:
        Samples with `pred_sem_seg` (data `(1, H, W)` uint8) and `pred_anomaly` (data `(1, H, W)`).
    """
    head = model.energy_head
    logits = model.decode_head(model.extract_feat(inputs))
    class_logits = head.class_logits(logits)
    if not head.scores_all_channels:
        logits = class_logits
    size = inputs.shape[-2:]
    if data_samples is None:
        data_samples = [SegDataSample() for _ in inputs]
    else:
        size = _input_size(data_samples[0].metainfo)
    for image_logits, sample in zip(logits, data_samples, strict=True):
        meta = sample.metainfo
        labels, scores = labels_and_scores(
            image_logits[None],
            meta.get("ori_shape", size),
            head.score,
            num_classes=class_logits.shape[1],
            align_corners=model.align_corners,
            input_size=size,
            padding=meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0))),
        )
        values = {"pred_sem_seg": labels, "pred_anomaly": head.smooth(scores)}
        sample.set_data({name: PixelData(data=data) for name, data in values.items()})
    return data_samples


def _input_size(meta: dict[str, Any]) -> tuple[int, int]:
    """Size to which mmseg's decode heads bring their logits at inference, padding included."""
    size = meta["img_shape"]
    if not isinstance(size, torch.Size):  # mmseg's mark of a window
        size = meta.get("pad_shape", size)
    return tuple(size[:2])
