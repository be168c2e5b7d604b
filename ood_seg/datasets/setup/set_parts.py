"""The splits of published sets on disk, for `known_sets`: from a folder to listed parts."""

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
from ood_seg.datasets.listing import Listing, files_by_stem, pair_by_stem
from ood_seg.datasets.obstacle_layouts import (
    LOST_AND_FOUND_COUNTS,
    LOST_AND_FOUND_LABELS,
    SMIYC_COUNTS,
    STREET_HAZARDS_COUNT,
    list_lost_and_found,
    list_smiyc,
    list_street_hazards,
)
from ood_seg.labels import ANOMALY, KNOWN

_EVALUATED = (KNOWN, ANOMALY)
_PAIR_SUFFIXES = ("_leftImg8bit.png", "_gtFine_labelTrainIds.png")


@dataclass
class Part:
    """A split of a set on disk: its listing, its raw label values, its numbers.

    A wrong `expected` number is a problem; `published` is only told, since a part of a training
    set serves as well.
    """

    name: str
    listing: Listing
    label_map: Mapping[int, int]
    expected: int | None = None
    published: int | None = None
    required: tuple[int, ...] = ()


Lister = Callable[[Path], list[Part]]


def cityscapes(folder: Path) -> list[Part]:
    """List train and val, as far as they are there."""
    parts = []
    for split, published in (("train", 2975), ("val", 500)):
        images, masks = folder / "leftImg8bit" / split, folder / "gtFine" / split
        if not images.is_dir() and not masks.is_dir():
            continue
        listing = pair_by_stem(
            images,
            masks,
            image_suffixes=_PAIR_SUFFIXES[:1],
            mask_suffixes=_PAIR_SUFFIXES[1:],
            recursive=True,
        )
        has_ids = masks.is_dir() and files_by_stem(masks, ("_gtFine_labelIds.png",), recursive=True)
        if has_ids and not listing.pairs:
            # By far the most frequent cause, worth one plain sentence of its own.
            listing.problems = [
                f"{masks} holds *_labelIds.png but no *_labelTrainIds.png: "
                "`ood-seg prepare-data cityscapes --out <this folder>` makes them"
            ]
        parts.append(Part(split, listing, TRAIN_IDS, published=published))
    return parts


def split_pairs(splits: Mapping[str, tuple[str, str, int]], label_map: Mapping[int, int]) -> Lister:
    """Return the listing of a set whose splits are pairs of folders: images, masks, number."""

    def parts(folder: Path) -> list[Part]:
        return [
            Part(name, pair_by_stem(folder / images, folder / masks), label_map, published=number)
            for name, (images, masks, number) in splits.items()
            if (folder / images).is_dir() or (folder / masks).is_dir()
        ]

    return parts


def road_anomaly(folder: Path) -> list[Part]:
    """List either layout of Road Anomaly."""
    is_official = road_anomaly_layout(folder) == "official"
    label_map = ROAD_ANOMALY_LABELS if is_official else PROCESSED_ROAD_ANOMALY_LABELS
    listing = list_road_anomaly(folder)
    return [Part("", listing, label_map, expected=ROAD_ANOMALY_COUNT, required=_EVALUATED)]


def fishyscapes(subset: str) -> Lister:
    """Return the listing of a Fishyscapes set: published, processed, or a plain folder pair."""

    def parts(folder: Path) -> list[Part]:
        if (folder / "images").is_dir() and (folder / "labels_masks").is_dir():
            listing = pair_by_stem(folder / "images", folder / "labels_masks")
        else:
            listing = list_fishyscapes(folder, subset)
        count = FISHYSCAPES_COUNTS[subset]
        return [Part("", listing, EVALUATION_LABELS, expected=count, required=_EVALUATED)]

    return parts


def lost_and_found(folder: Path) -> list[Part]:
    """List the splits of Lost and Found that are there, with both kinds of labels."""
    maps = {"trainIds": LOST_AND_FOUND_TRAIN_IDS, "ids": LOST_AND_FOUND_IDS}
    return [
        Part(
            f"{split} {labels}",
            list_lost_and_found(folder, split, labels),
            maps[labels],
            expected=LOST_AND_FOUND_COUNTS[split],
            required=_EVALUATED,
        )
        for split in LOST_AND_FOUND_COUNTS
        if (folder / "leftImg8bit" / split).is_dir() or (folder / "gtCoarse" / split).is_dir()
        for labels in LOST_AND_FOUND_LABELS
    ]


def smiyc(track: str) -> Lister:
    """Return the listing of a SegmentMeIfYouCan track."""

    def parts(folder: Path) -> list[Part]:
        listing = list_smiyc(folder, track)
        count = SMIYC_COUNTS[track]
        return [Part("", listing, EVALUATION_LABELS, expected=count, required=_EVALUATED)]

    return parts


def street_hazards(folder: Path) -> list[Part]:
    """List the test split of StreetHazards."""
    listing = list_street_hazards(folder)
    expected = STREET_HAZARDS_COUNT
    return [Part("", listing, STREET_HAZARDS_LABELS, expected=expected, required=_EVALUATED)]
