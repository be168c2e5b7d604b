"""Test-time augmentation that averages logits first and scores them once."""

from __future__ import annotations

import torch
from mmengine.model import BaseTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ood_seg.models.prediction import add_prediction


@MODELS.register_module()
class OODTTAModel(BaseTTAModel):
    """Merges flipped and rescaled predictions of an `OODEncoderDecoder`.

    mmseg's own `SegTTAModel` averages softmax probabilities, from which no energy can be computed.
    Here the logits, already flipped back and at the original size, are averaged; arg-max and
    anomaly score are taken from the mean, and smoothing, if any, comes last.

    Args:
        module: the segmentor or its config; its `keep_logits` is set.
        **kwargs: as for `BaseTTAModel`.

    Raises:
        ValueError: the score reads more than logits, which cannot be averaged.
    """

    def __init__(self, module: dict | nn.Module, **kwargs) -> None:
        super().__init__(module, **kwargs)
        self.module.keep_logits = True
        head = self.module.energy_head
        if head.needs != "logits":
            raise ValueError(
                f"test-time augmentation averages logits, but {type(head.score).__name__} is "
                "computed from more than these; test without it, or choose a score of the logits"
            )

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merge the augmented predictions of each image.

        Args:
            data_samples_list: for each image, one sample for each augmentation.

        Returns:
            One sample for each image, with `seg_logits`, `pred_sem_seg` and `pred_anomaly`.
        """
        return [self._merge(samples) for samples in data_samples_list]

    def _merge(self, samples: list[SegDataSample]) -> SegDataSample:
        name = "all_logits" if "all_logits" in samples[0] else "seg_logits"
        logits = torch.zeros_like(samples[0].get(name).data)
        for sample in samples:
            logits += sample.get(name).data
        logits /= len(samples)
        add_prediction(samples[0], logits, self.module.energy_head)
        return samples[0]
