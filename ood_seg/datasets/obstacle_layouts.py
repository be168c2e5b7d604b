"""Folder layouts of Lost and Found, SegmentMeIfYouCan and StreetHazards.

Pure functions on paths, like `layouts`.
"""

from __future__ import annotations

from pathlib import Path

from ood_seg.datasets.layouts import check_choice
from ood_seg.datasets.listing import DATASET_IMAGE_SUFFIXES, Listing, missing_folders, pair_by_stem

LOST_AND_FOUND_COUNTS = {"train": 1036, "test": 1203}
LOST_AND_FOUND_LABELS = {
    "trainIds": "_gtCoarse_labelTrainIds.png",
    "ids": "_gtCoarse_labelIds.png",
}
# Public validation frames; the other images are the benchmark's hidden test.
SMIYC_COUNTS = {"RoadAnomaly21": 10, "RoadObstacle21": 30}
SMIYC_FOLDERS = {
    "RoadAnomaly21": "dataset_AnomalyTrack",
    "RoadObstacle21": "dataset_ObstacleTrack",
}
SMIYC_MASK_SUFFIX = "_labels_semantic.png"
# Only the test split holds anomalies.
STREET_HAZARDS_COUNT = 1500


def list_lost_and_found(root: Path, split: str, labels: str = "trainIds") -> Listing:
    """List a split of Lost and Found in the published tree, which is that of Cityscapes.

    Args:
        root: folder of `leftImg8bit/` and `gtCoarse/`.
        split: 'train' or 'test'.
        labels: 'trainIds' or 'ids': which of the two label images.
    """
    check_choice("split", split, tuple(LOST_AND_FOUND_COUNTS))
    check_choice("labels", labels, tuple(LOST_AND_FOUND_LABELS))
    return pair_by_stem(
        root / "leftImg8bit" / split,
        root / "gtCoarse" / split,
        image_suffixes=tuple("_leftImg8bit" + suffix for suffix in DATASET_IMAGE_SUFFIXES),
        mask_suffixes=LOST_AND_FOUND_LABELS[labels],
        recursive=True,
    )


def list_smiyc(root: Path, track: str) -> Listing:
    """List the labelled images of a SegmentMeIfYouCan track; the others become a note.

    Args:
        root: folder of `images/` and `labels_masks/`, or the folder that holds
            `dataset_AnomalyTrack/` or `dataset_ObstacleTrack/`.
        track: 'RoadAnomaly21' or 'RoadObstacle21'.
    """
    check_choice("track", track, tuple(SMIYC_COUNTS))
    nested = root / SMIYC_FOLDERS[track]
    folder = nested if nested.is_dir() else root
    return pair_by_stem(
        folder / "images",
        folder / "labels_masks",
        mask_suffixes=SMIYC_MASK_SUFFIX,
        unlabelled_ok=True,
    )


def list_street_hazards(root: Path) -> Listing:
    """List the test split of StreetHazards.

    Args:
        root: folder into which `streethazards_test.tar` was unpacked (it holds
            `test/images/test/TOWN/N.png` and `test/annotations/test/TOWN/N.png`), or its `test/`.
    """
    if not root.is_dir():
        return Listing(problems=missing_folders(root))
    nested = root / "test" / "images"
    folder = root / "test" if nested.is_dir() else root
    return pair_by_stem(folder / "images" / "test", folder / "annotations" / "test", recursive=True)
