"""KITTI semantics, in Cityscapes classes."""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

from ood_seg.datasets.label_maps import CITYSCAPES_IDS_TO_TRAIN_IDS
from ood_seg.datasets.raw_labels import RawLabelDataset


@DATASETS.register_module()
class KittiSemanticsDataset(RawLabelDataset):
    """KITTI semantic segmentation (Alhaija et al. 2018), 200 training pairs, official tree.

    Set `data_prefix=dict(img_path='training/image_2', seg_map_path='training/semantic')`. The
    masks hold Cityscapes label ids; they are loaded as trainIds.
    """

    METAINFO: ClassVar[dict] = dict(CityscapesDataset.METAINFO)
    LABEL_MAP: ClassVar[dict[int, int]] = CITYSCAPES_IDS_TO_TRAIN_IDS
