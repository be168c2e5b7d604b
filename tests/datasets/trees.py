"""Miniature copies of the published folder layouts, written to disk for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (6, 8)


def image(path: Path, shape: tuple[int, int] = SHAPE) -> Path:
    """Write a colour picture of noise (which compresses badly, so that it can be cut)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, values: object = (0, 1, 255), shape: tuple[int, int] = SHAPE) -> Path:
    """Write a label picture: an array as it is, or a row of values repeated over the shape."""
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
