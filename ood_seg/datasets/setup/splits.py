"""The splits of published datasets on disk: from a folder to listed pairs and their labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_seg.datasets.label_maps import (
    EVALUATION_LABELS,
    LOST_AND_FOUND_IDS,
    LOST_AND_FOUND_TRAIN_IDS,
    PROCESSED_ROAD_ANOMALY_LABELS,
    ROAD_ANOMALY_LABELS,
    STREET_HAZARDS_LABELS,
    TRAIN_IDS,
)
from ood_seg.datasets.layouts import (
    FISHYSCAPES_COUNTS,
    ROAD_ANOMALY_COUNT,
    list_fishyscapes,
    list_road_anomaly,
    road_anomaly_layout,
)
from ood_seg.datasets.listing import Listing, pair_by_stem
from ood_seg.datasets.obstacle_layouts import (
    LOST_AND_FOUND_COUNTS,
    SMIYC_COUNTS,
    STREET_HAZARDS_COUNT,
    list_lost_and_found,
    list_smiyc,
    list_street_hazards,
)
from ood_seg.labels import ANOMALY, KNOWN


@dataclass
class Split:
    """A split on disk.

    Attributes:
        name: empty for the only one.
        listing: its pairs.
        label_map: raw value in the masks -> label.
        count: published number of pairs, None where any serves.
        is_evaluation: another number of pairs is a problem, and both labels must occur; of a
            training set a part serves as well.
        images: files without masks, of an image-level dataset, which has no pairs.
        is_fitted: masks of another size are not a problem, as `LoadCheckedLabels` fits them.
    """

    name: str
    listing: Listing
    label_map: Mapping[int, int]
    count: int | None = None
    is_evaluation: bool = True
    is_fitted: bool = False
    images: list[Path] | None = None

    @property
    def required(self) -> tuple[int, ...]:
        """Labels of which there must be a pixel."""
        return (KNOWN, ANOMALY) if self.is_evaluation else ()


Lister = Callable[[Path], list[Split]]


def no_masks(folder: Path) -> list[Split]:
    """Return nothing: the images of an image-level dataset have no masks."""
    return []


def folder_pairs(
    folders: Mapping[str, tuple[str, str, int]],
    label_map: Mapping[int, int],
    *,
    is_fitted: bool = False,
    **options,
) -> Lister:
    """Return the lister of known-class splits that are pairs of folders.

    Args:
        folders: name of a split -> folder of images, folder of masks, published number.
        label_map: raw value -> class.
        is_fitted: see `Split`.
        **options: of `pair_by_stem`.
    """

    def list_splits(folder: Path) -> list[Split]:
        splits = []
        for name, (images, masks, count) in folders.items():
            if (folder / images).is_dir() or (folder / masks).is_dir():
                listing = pair_by_stem(folder / images, folder / masks, **options)
                splits.append(Split(name, listing, label_map, count, False, is_fitted))
        return splits

    return list_splits


def cityscapes(folder: Path) -> list[Split]:
    """List train and val, as far as they are present."""
    found = folder_pairs(
        {
            name: (f"leftImg8bit/{name}", f"gtFine/{name}", count)
            for name, count in (("train", 2975), ("val", 500))
        },
        TRAIN_IDS,
        image_suffixes="_leftImg8bit.png",
        mask_suffixes="_gtFine_labelTrainIds.png",
        recursive=True,
    )(folder)
    for split in found:
        masks = folder / "gtFine" / split.name
        if not split.listing.pairs and next(masks.rglob("*_gtFine_labelIds.png"), None):
            # By far the most frequent cause, worth a plain sentence of its own.
            split.listing.problems = [
                f"{masks} holds *_labelIds.png but no *_labelTrainIds.png: "
                "`ood-seg prepare-data cityscapes --out <this folder>` makes them"
            ]
    return found


def road_anomaly(folder: Path) -> list[Split]:
    """List either layout of Road Anomaly."""
    is_official = road_anomaly_layout(folder) == "official"
    label_map = ROAD_ANOMALY_LABELS if is_official else PROCESSED_ROAD_ANOMALY_LABELS
    return [Split("", list_road_anomaly(folder), label_map, ROAD_ANOMALY_COUNT)]


def fishyscapes(subset: str) -> Lister:
    """Return the lister of a Fishyscapes set: published, processed, or a plain pair of folders."""

    def list_splits(folder: Path) -> list[Split]:
        if (folder / "images").is_dir() and (folder / "labels_masks").is_dir():
            listing = pair_by_stem(folder / "images", folder / "labels_masks")
        else:
            listing = list_fishyscapes(folder, subset)
        return [Split("", listing, EVALUATION_LABELS, FISHYSCAPES_COUNTS[subset])]

    return list_splits


def lost_and_found(folder: Path) -> list[Split]:
    """List the splits of Lost and Found that are present, with both kinds of labels."""
    maps = {"trainIds": LOST_AND_FOUND_TRAIN_IDS, "ids": LOST_AND_FOUND_IDS}
    return [
        Split(f"{split} {kind}", list_lost_and_found(folder, split, kind), label_map, count)
        for split, count in LOST_AND_FOUND_COUNTS.items()
        if (folder / "leftImg8bit" / split).is_dir() or (folder / "gtCoarse" / split).is_dir()
        for kind, label_map in maps.items()
    ]


def smiyc(track: str) -> Lister:
    """Return the lister of a SegmentMeIfYouCan track."""
    count = SMIYC_COUNTS[track]
    return lambda folder: [Split("", list_smiyc(folder, track), EVALUATION_LABELS, count)]


def street_hazards(folder: Path) -> list[Split]:
    """List the test split of StreetHazards."""
    listing = list_street_hazards(folder)
    return [Split("", listing, STREET_HAZARDS_LABELS, STREET_HAZARDS_COUNT)]
