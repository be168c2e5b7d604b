"""Packing whole images of outliers, as a second context beside driving scenes."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from ood_seg.labels import IGNORE


# The second name is that of configs written for version 0.1.
@TRANSFORMS.register_module(name=["PackOutlierImage", "PackOutlierPicture"])
class PackOutlierImage(PackSegInputs):
    """`PackSegInputs` for the images that outliers come from; for the loss `CoroCL` of RPL.

    The labels, `OUTLIER` on the object and `IGNORE` on padding and around the object, become
    `gt_context` of the data sample, `(1, H, W)`. `gt_sem_seg` is `IGNORE` everywhere, so that no
    loss or metric of driving scenes counts the image. A pipeline of such images, and a mix of as
    many of them as there are scenes:

    ```
    images = dict(..., pipeline=[
        dict(type='LoadCheckedImage'), dict(type='LoadCheckedLabels', num_classes=19),
        dict(type='PasteOutliers', source=..., raw_probability=1.0),
        dict(type='CropOrPad', size=(700, 700), pad_value=...),
        dict(type='PackOutlierImage'),
    ])
    dataset=dict(type='OutlierMix', clean=scenes, pasted=images, num_pasted=2975)
    ```

    Args:
        meta_keys: as for `PackSegInputs`.
    """

    def transform(self, results: dict) -> dict:
        """Pack image and labels, and move the labels to `gt_context`."""
        packed = super().transform(results)
        sample = packed["data_samples"]
        labels = sample.gt_sem_seg.data
        sample.gt_context = PixelData(data=labels)
        sample.gt_sem_seg = PixelData(data=torch.full_like(labels, IGNORE))
        return packed
