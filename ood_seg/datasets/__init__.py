"""Datasets, outlier sources and pipeline transforms.

The classes, most of which need mmseg, are imported on first use; the modules that only read files
(`listing`, `layouts`, `label_maps`, `label_images`, and those in `setup`) work without it.
"""

from __future__ import annotations

import importlib
import warnings

from ood_seg.startup import quiet_imports

_CLASSES = {
    "AnomalyDataset": "anomaly",
    "AnomalyFolderDataset": "anomaly_folder",
    "CamVidDataset": "camvid",
    "CocoObjects": "outlier_sources",
    "CutoutFolder": "cutout_folder",
    "CropOrPad": "transforms.crop_or_pad",
    "FishyscapesDataset": "fishyscapes",
    "KittiSemanticsDataset": "kitti",
    "Listing": "listing",
    "LoadCheckedImage": "transforms.loading",
    "LoadCheckedLabels": "transforms.loading",
    "OutlierMix": "outlier_mix",
    "LostAndFoundDataset": "lost_and_found",
    "PackOutlierImage": "transforms.pack_outlier_image",
    "PasteOutliers": "transforms.paste_outliers",
    "RawLabelDataset": "raw_labels",
    "RoadAnomalyDataset": "road_anomaly",
    "SMIYCDataset": "smiyc",
    "ScenePieces": "scene_pieces",
    "SeededSamples": "seeded_samples",
    "StreamSampler": "seeded_samples",
    "StreetHazardsDataset": "street_hazards",
    "TakeSizeAsOriginal": "transforms.sizes",
}

__all__ = sorted(_CLASSES)


def __getattr__(name: str) -> object:
    """Import the class `name` from its module."""
    if name == "PackOutlierPicture":
        warnings.warn("PackOutlierPicture is now PackOutlierImage", DeprecationWarning, 2)
        name = "PackOutlierImage"
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with quiet_imports():
        module = importlib.import_module(f"{__name__}.{_CLASSES[name]}")
    return getattr(module, name)
