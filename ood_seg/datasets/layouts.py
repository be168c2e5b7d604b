"""Folder layouts of the published anomaly datasets: from a root folder to image and mask pairs.

Pure functions on paths, shared by the dataset classes and `ood-seg check-data`.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from ood_seg.datasets.listing import (
    DATASET_IMAGE_SUFFIXES,
    Listing,
    files_by_stem,
    missing_folders,
    pair_by_stem,
    shorten,
)
from ood_seg.io.json_files import read_json

LAYOUTS = ("official", "processed")
FISHYSCAPES_SUBSETS = ("static", "lost_and_found")
FISHYSCAPES_COUNTS = {"static": 30, "lost_and_found": 100}
ROAD_ANOMALY_COUNT = 60

# Names under which the processed layout is distributed, and of the published label folders.
_PROCESSED_ROOTS = {
    "static": ("Static", "fs_static"),
    "lost_and_found": ("LostAndFound", "fs_lost_and_found"),
}
_LABEL_FOLDERS = {
    "static": ("fs_val_v1", "fs_val_v2", "fs_val_v3", "fishyscapes_static"),
    "lost_and_found": ("fishyscapes_lostandfound",),
}
_COMPOSED_SUFFIXES = tuple("_rgb" + suffix for suffix in DATASET_IMAGE_SUFFIXES)
_FRAME_NAME = re.compile(r"^(?:\d+_)(?P<frame>(?P<city>.+)_\d{6}_\d{6})$")


def check_choice(argument: str, value: str | None, choices: tuple[str, ...]) -> None:
    """Raise a ValueError that names the argument, the choices and what was given."""
    if value not in choices:
        raise ValueError(f"{argument}: expected one of {', '.join(choices)}; got {value!r}")


def processed_root(root: Path, names: tuple[str, ...] = ()) -> Path | None:
    """Return the folder that holds `original/` and `labels/`: root or one of `names` in it."""
    for folder in (root, *(root / name for name in names)):
        if (folder / "original").is_dir() or (folder / "labels").is_dir():
            return folder
    return None


def list_processed(root: Path, names: tuple[str, ...] = ()) -> Listing:
    """Pair `original/STEM.*` with `labels/STEM.png`; masks hold 0, 1 and perhaps 255."""
    folder = processed_root(root, names) or root
    return pair_by_stem(folder / "original", folder / "labels")


def stays_inside(name: object) -> bool:
    """Whether a name from a list file is a relative path without `..`."""
    if not isinstance(name, str) or not name:
        return False
    # Read both ways, so that a list written on one system cannot lead outside on another.
    return not any(
        kind(name).is_absolute() or kind(name).drive or ".." in kind(name).parts
        for kind in (PurePosixPath, PureWindowsPath)
    )


def read_frame_list(path: Path) -> tuple[list[str], list[str]]:
    """Read Road Anomaly's `frame_list.json`; return its usable names and the problems.

    Problems: no such file, not a JSON list, and names that are not text, leave the folder or
    occur twice.
    """
    try:
        names = read_json(path)
    except FileNotFoundError:
        return [], [f"file not found: {path}"]
    except (OSError, ValueError) as error:
        return [], [f"{path} cannot be read: {error}"]
    if not isinstance(names, list):
        return [], [f"{path}: expected a list of file names, got {type(names).__name__}"]
    problems = []
    outside = [repr(name) for name in names if not stays_inside(name)]
    if outside:
        problems.append(f"{path}: names that are not paths below the folder: {shorten(outside)}")
    inside = [name for name in names if stays_inside(name)]
    usable = list(dict.fromkeys(inside))
    if len(usable) != len(inside):
        twice = [name for name in usable if inside.count(name) > 1]
        problems.append(f"{path}: names listed more than once: {shorten(twice)}")
    return usable, problems


def list_road_anomaly(root: Path, layout: str | None = None) -> Listing:
    """List Road Anomaly in the published tree or in the processed layout.

    Args:
        root: folder that holds `frame_list.json` and `frames/`, or `original/` and `labels/`.
        layout: 'official', 'processed', or None to detect it.
    """
    if not root.is_dir():
        return Listing(problems=missing_folders(root))
    layout = layout or road_anomaly_layout(root)
    check_choice("layout", layout, LAYOUTS)
    return list_processed(root) if layout == "processed" else _list_road_anomaly_frames(root)


def road_anomaly_layout(root: Path) -> str:
    """Return the layout of a folder; 'official' unless the folders of the other exist."""
    is_processed = not (root / "frame_list.json").exists() and processed_root(root)
    return "processed" if is_processed else "official"


def _list_road_anomaly_frames(root: Path) -> Listing:
    names, problems = read_frame_list(root / "frame_list.json")
    pairs, no_image, no_mask = [], [], []
    for name in names:
        frame = root / "frames" / name
        # Copies in another format keep the published list, so the stem decides.
        candidates = [frame, *(frame.with_suffix(suffix) for suffix in DATASET_IMAGE_SUFFIXES)]
        image = next((path for path in candidates if path.is_file()), None)
        mask = frame.with_suffix(".labels") / "labels_semantic.png"
        if image is None:
            no_image.append(frame)
        if not mask.is_file():
            no_mask.append(mask)
        if image is not None and mask.is_file():
            pairs.append((image, mask))
    if no_image:
        problems.append(f"{len(no_image)} listed images not found: {shorten(no_image)}")
    if no_mask:
        problems.append(f"{len(no_mask)} masks not found: {shorten(no_mask)}")
    return Listing(pairs, problems)


def fishyscapes_layout(root: Path, subset: str) -> str:
    """Return the layout of a folder; 'official' unless the folders of the other exist."""
    return "processed" if processed_root(root, _PROCESSED_ROOTS[subset]) else "official"


def list_fishyscapes(
    root: Path,
    subset: str,
    layout: str | None = None,
    *,
    label_folder: Path | None = None,
    image_folder: Path | None = None,
) -> Listing:
    """List a Fishyscapes validation dataset by the published names or in the processed layout.

    Published names: `0000_04_Maurener_Weg_8_000000_000030_labels.png` belongs to
    `leftImg8bit/{train,test}/04_Maurener_Weg_8/04_Maurener_Weg_8_000000_000030_leftImg8bit.png`
    of Lost and Found; `0000_frankfurt_000001_046504_labels.png` of Static to the composed
    image `0000_frankfurt_000001_046504_rgb.png` (or .jpg, ...).

    Args:
        root: folder of the dataset.
        subset: 'static' or 'lost_and_found'.
        layout: 'official', 'processed', or None to detect it.
        label_folder: folder of the `*_labels.png`; by default the published folder name in
            `root`, or `root` itself.
        image_folder: `leftImg8bit`, or the folder of the composed images; by default
            `root/leftImg8bit`, or the label folder.
    """
    check_choice("subset", subset, FISHYSCAPES_SUBSETS)
    if not root.is_dir():
        return Listing(problems=missing_folders(root))
    layout = layout or fishyscapes_layout(root, subset)
    check_choice("layout", layout, LAYOUTS)
    if layout == "processed":
        if label_folder and image_folder:
            return pair_by_stem(image_folder, label_folder)
        return list_processed(root, _PROCESSED_ROOTS[subset])
    if label_folder is None:
        found = [root / name for name in _LABEL_FOLDERS[subset] if (root / name).is_dir()]
        if len(found) > 1:
            # The versions of Static differ by more than 10 points of AP: never guess.
            choices = shorten(folder.name for folder in found)
            return Listing(
                problems=[f"{root} holds {choices}: choose one by data_prefix seg_map_path"]
            )
        label_folder = found[0] if found else root
    if subset == "static":
        return _list_static(label_folder, image_folder or label_folder)
    return _list_lost_and_found(label_folder, image_folder or root / "leftImg8bit")


def _list_static(label_folder: Path, image_folder: Path) -> Listing:
    listing = pair_by_stem(
        image_folder,
        label_folder,
        image_suffixes=_COMPOSED_SUFFIXES,
        mask_suffixes="_labels.png",
    )
    if listing.pairs or not image_folder.is_dir():
        return listing
    overlays = files_by_stem(image_folder, ("_rgb.npz",))
    if overlays:
        # One sentence instead of thirty masks without an image, which would hide the cause.
        listing.problems = [
            f"{image_folder} holds {len(overlays)} overlays (*_rgb.npz) and no composed image "
            "(*_rgb.png): an overlay is only the difference to a Cityscapes val image. "
            "`ood-seg prepare-data fs_static_v3 FOLDER CITYSCAPES` (or _v1, _v2) adds the two"
        ]
    return listing


def _list_lost_and_found(label_folder: Path, image_folder: Path) -> Listing:
    problems = missing_folders(label_folder, image_folder)
    if problems:
        return Listing(problems=problems)
    pairs, misnamed, no_image, both = [], [], [], []
    for stem, (mask, *_) in files_by_stem(label_folder, ("_labels.png",)).items():
        name = _FRAME_NAME.match(stem)
        if name is None:
            misnamed.append(mask)
            continue
        candidates = [
            image_folder / split / name["city"] / f"{name['frame']}_leftImg8bit{suffix}"
            for split in ("train", "test")
            for suffix in DATASET_IMAGE_SUFFIXES
        ]
        found = [path for path in candidates if path.is_file()]
        if not found:
            no_image.append(mask)
        elif len(found) > 1:
            both.extend(found)
        else:
            pairs.append((found[0], mask))
    if misnamed:
        problems.append(f"masks not named NNNN_CITY_NNNNNN_NNNNNN_labels.png: {shorten(misnamed)}")
    if no_image:
        problems.append(
            f"{len(no_image)} masks without an image in {image_folder}/train or test: "
            f"{shorten(no_image)}"
        )
    if both:
        problems.append(f"more than one image for one mask: {shorten(both)}")
    return Listing(pairs, problems)
