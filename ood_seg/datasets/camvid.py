"""CamVid in the SegNet split, in Cityscapes classes."""

from __future__ import annotations

from typing import ClassVar

from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

from ood_seg.datasets.label_maps import CAMVID_TO_TRAIN_IDS
from ood_seg.datasets.raw_labels import RawLabelDataset


@DATASETS.register_module()
class CamVidDataset(RawLabelDataset):
    """CamVid (Brostow et al. 2009) as SegNet publishes it: 367 train, 101 val, 233 test frames.

    Set `data_prefix=dict(img_path='train', seg_map_path='trainannot')`. The 11 classes come out
    as Cityscapes trainIds, so that one mIoU serves both; 8 Cityscapes classes never occur. The 11
    are coarser than their names: buses and trucks count as car, traffic lights as traffic sign, so
    a network that distinguishes them scores lower here.
    """

    METAINFO: ClassVar[dict] = dict(CityscapesDataset.METAINFO)
    LABEL_MAP: ClassVar[dict[int, int]] = CAMVID_TO_TRAIN_IDS
