"""Miniature copies of the published folder layouts, written to disk for tests."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (6, 8)


def image(path: Path, shape: tuple[int, int] = SHAPE) -> Path:
    """Write a colour image of noise (which compresses badly, so that it can be cut)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, values: object = (0, 1, 255), shape: tuple[int, int] = SHAPE) -> Path:
    """Write a label image: an array as it is, or a row of values repeated over the shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(values, dtype=np.uint8)
    Image.fromarray(array if array.ndim == 2 else np.resize(array, shape)).save(path)
    return path


def cut(path: Path, keep: float = 0.6) -> Path:
    """Cut a file off, as a broken download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def folder_pair(root: Path, stems: tuple[str, ...] = ("a", "b"), values: object = (0, 1, 255)):
    """Write images/STEM.jpg and labels_masks/STEM.png."""
    for stem in stems:
        image(root / "images" / f"{stem}.jpg")
        mask(root / "labels_masks" / f"{stem}.png", values)
    return root


def road_anomaly(
    root: Path, names: tuple[str, ...] = ("cow", "rock"), suffix: str = ".jpg"
) -> Path:
    """Write the published Road Anomaly tree; the list names .jpg whatever the suffix is."""
    for name in names:
        image(root / "frames" / f"{name}{suffix}")
        mask(root / "frames" / f"{name}.labels" / "labels_semantic.png", (0, 2))
    (root / "frame_list.json").write_text(json.dumps([f"{name}.jpg" for name in names]))
    return root


def processed(root: Path, stems: tuple[str, ...] = ("x", "y"), suffix: str = ".jpg") -> Path:
    """Write original/STEM.jpg and labels/STEM.png."""
    for stem in stems:
        image(root / "original" / f"{stem}{suffix}")
        mask(root / "labels" / f"{stem}.png", (0, 1))
    return root


def lost_and_found(root: Path) -> Path:
    """Write the published names of Fishyscapes Lost and Found: one image in train, one in test."""
    frames = (
        ("train", "04_Maurener_Weg_8", "000000_000030", "0000"),
        ("test", "02_Hanns_Klemm_Str_44", "000001_000200", "0001"),
    )
    for split, city, frame, number in frames:
        image(root / "leftImg8bit" / split / city / f"{city}_{frame}_leftImg8bit.png")
        mask(root / "fishyscapes_lostandfound" / f"{number}_{city}_{frame}_labels.png")
    return root


def static(root: Path, suffix: str = "_rgb.png") -> Path:
    """Write the published names of Fishyscapes Static with composed images."""
    for number in ("0000", "0001"):
        stem = f"{number}_frankfurt_000001_046504"
        image(root / "fs_val_v3" / f"{stem}{suffix}")
        mask(root / "fs_val_v3" / f"{stem}_labels.png")
    return root


def cityscapes(root: Path, values: object = (0, 18, 255)) -> Path:
    """Write one training pair in the Cityscapes tree."""
    stem = "aachen_000000_000019"
    image(root / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    mask(root / "gtFine" / "train" / "aachen" / f"{stem}_gtFine_labelTrainIds.png", values)
    return root


def cityscapes_ids(root: Path, stems: tuple[str, ...] = ("aachen_000000_000019",)) -> Path:
    """Write pairs as Cityscapes publishes them: label ids, colours and polygons, no trainIds."""
    for stem in stems:
        city = stem.partition("_")[0]
        folder = root / "gtFine" / "train" / city
        image(root / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png")
        mask(folder / f"{stem}_gtFine_labelIds.png", (0, 7, 8, 33, 26, 3))
        image(folder / f"{stem}_gtFine_color.png")
        (folder / f"{stem}_gtFine_polygons.json").write_text("{}")
    return root


def static_overlays(root: Path, count: int = 30) -> Path:
    """Write labels and npz overlays of Fishyscapes Static, flat as in its archive."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        stem = f"{number:04d}_frankfurt_000001_{number:06d}"
        mask(root / f"{stem}_labels.png")
        overlay = np.random.default_rng(number).integers(-300, 301, (*SHAPE, 3), dtype=np.int16)
        np.savez_compressed(root / f"{stem}_rgb.npz", rgb=overlay)
    return root


def static_images(root: Path, count: int = 30) -> Path:
    """Write the Cityscapes val images below those overlays, and one that is not needed."""
    for number in range(count + 1):
        stem = f"frankfurt_000001_{number:06d}"
        image(root / "leftImg8bit" / "val" / "frankfurt" / f"{stem}_leftImg8bit.png")
    return root


def lost_and_found_native(root: Path) -> Path:
    """Write a frame of each split of Lost and Found with both kinds of labels."""
    for split, city in (("train", "01_Hanns_Klemm_Str_45"), ("test", "02_Hanns_Klemm_Str_44")):
        stem = f"{city}_000000_000080"
        image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
        folder = root / "gtCoarse" / split / city
        mask(folder / f"{stem}_gtCoarse_labelTrainIds.png", (0, 1, 2, 255))
        mask(folder / f"{stem}_gtCoarse_labelIds.png", (0, 1, 2, 17))
        mask(folder / f"{stem}_gtCoarse_instanceIds.png", (0, 1, 2, 17))
        image(folder / f"{stem}_gtCoarse_color.png")
    return root


def smiyc(root: Path, labelled: int = 2, hidden: int = 3, suffix: str = ".jpg") -> Path:
    """Write a SegmentMeIfYouCan track: validation frames with masks, test frames without."""
    for number in range(labelled):
        image(root / "images" / f"validation{number:04d}{suffix}")
        name = root / "labels_masks" / f"validation{number:04d}_labels_semantic"
        mask(name.with_suffix(".png"))
        image(name.with_name(name.name + "_color.png"))
    for number in range(hidden):
        image(root / "images" / f"road_{number}{suffix}")
    return root


def street_hazards(root: Path, count: int = 2) -> Path:
    """Write test frames of StreetHazards as its archive unpacks."""
    for number in range(count):
        image(root / "test" / "images" / "test" / "t5" / f"{number}.png")
        mask(root / "test" / "annotations" / "test" / "t5" / f"{number}.png", (1, 4, 13, 14))
    return root


def zipped(path: Path, *folders: Path, prefix: str = "") -> Path:
    """Pack folders into a zip archive, names relative to each folder, behind a prefix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            for file in sorted(folder.rglob("*")):
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def tarred(path: Path, folder: Path) -> Path:
    """Pack a folder into a tar archive, compressed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    modes = {".gz": "w:gz", ".xz": "w:xz"}
    with tarfile.open(path, modes.get(path.suffix, "w")) as archive:
        archive.add(folder, arcname=".")
    return path


def image_level(name: str, root: Path) -> Path:
    """Write a few images of CIFAR-10, Tiny ImageNet or DTD as they are published."""
    places = {
        "cifar10": ["train/airplane/0000.jpg", "train/truck/0001.jpg", "test/cat/0000.jpg"],
        "tiny_imagenet": ["train/n01443537/images/n01443537_0.JPEG", "val/images/val_0.JPEG"],
        "dtd": ["banded/banded_0002.jpg", "dotted/dotted_0001.jpg"],
    }
    for place in places[name]:
        image(root / place)
    if name == "tiny_imagenet":
        for place in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
            (root / place).write_text("n01443537\tgoldfish\n")
        (root / "train/n01443537/n01443537_boxes.txt").write_text("")
    return root
