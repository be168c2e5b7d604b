"""Small image-level datasets on disk, drawn from a seed."""

from pathlib import Path

import cv2
import numpy as np


def write_image(path: Path, *, seed: int, size: int = 32, grey: bool = False) -> Path:
    """Write a PNG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size, size) if grey else (size, size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def class_folders(root: Path, classes=("cat", "dog", "ship"), counts=None, *, split="train"):
    """Write `SPLIT/CLASS/NNNN.png`; images of a class are brighter the higher its label is."""
    counts = counts or [8] * len(classes)
    for label, (name, count) in enumerate(zip(classes, counts, strict=True)):
        (root / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            random = np.random.default_rng([label, number, len(split)])
            low = 20 + 200 * label // len(classes)
            pixels = random.integers(low, low + 40, (32, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(root / split / name / f"{number:04d}.png"), pixels)
    return root


def outlier_folder(root: Path, count: int = 6, *, first_seed: int = 1000, size: int = 32) -> Path:
    """Write `NN.png` of noise over the whole range."""
    for number in range(count):
        write_image(root / f"{number:02d}.png", seed=first_seed + number, size=size)
    return root
