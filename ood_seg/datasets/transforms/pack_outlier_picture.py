"""Packing of a whole picture of an outlier, as a second context beside driving scenes."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ood_seg.labels import IGNORE


@TRANSFORMS.register_module()
class PackOutlierPicture(PackSegInputs):
    """`PackSegInputs` for pictures that outliers come from; for the loss `CoroCL` of RPL.

    The labels, `OUTLIER` on the object, `IGNORE` on padding and anything else around the object,
    become `gt_context` of the data sample, `(1, H, W)`. `gt_sem_seg` is `IGNORE` everywhere, so
    that no loss or metric of driving scenes sees the picture. A pipeline of such pictures, and
    a mix of as many of them as there are scenes:

    ```
    pictures = dict(..., pipeline=[
        dict(type='LoadCheckedImage'), dict(type='LoadCheckedLabels', num_classes=19),
        dict(type='PasteOutliers', source=..., raw_probability=1.0),
        dict(type='CropOrPad', size=(700, 700), pad_value=...),
        dict(type='PackOutlierPicture'),
    ])
    dataset=dict(type='OutlierMix', clean=scenes, pasted=pictures, num_pasted=2975)
    ```

    Args:
        meta_keys: as for `PackSegInputs`.
    """

    def transform(self, results: dict) -> dict:
        """Pack image and labels; the labels change their place."""
        packed = super().transform(results)
        sample = packed["data_samples"]
        labels = sample.gt_sem_seg.data
        sample.gt_context = PixelData(data=labels)
        sample.gt_sem_seg = PixelData(data=torch.full_like(labels, IGNORE))
        return packed
