"""Folders of score maps and label images, drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SHAPE = (60, 80)


class MapFolders(NamedTuple):
    """Both folders, and what was written into them by image name."""

    scores: Path
    truth: Path
    maps: dict[str, tuple[np.ndarray, np.ndarray]]

    def all_scores(self) -> np.ndarray:
        return np.concatenate([scores.ravel() for scores, _ in self.maps.values()])

    def all_labels(self) -> np.ndarray:
        return np.concatenate([labels.ravel() for _, labels in self.maps.values()])


def draw_maps(count: int, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores and labels by name: one anomaly of 24x20 pixels each, some ignored pixels."""
    rng = np.random.default_rng(seed)
    maps = {}
    for index in range(count):
        labels = np.zeros(SHAPE, np.uint8)
        top, left = rng.integers(0, 30, 2)
        labels[top : top + 24, left : left + 20] = 1
        labels[:4] = 255
        scores = rng.normal(size=SHAPE) + 3 * (labels == 1) + 0.3 * index
        maps[f"frame_{index:02d}"] = (scores.round(2).astype(np.float32), labels)
    return maps


def write_maps(folder: Path, count: int = 6, seed: int = 0) -> MapFolders:
    """`scores/NAME.npy` and `masks/NAME_labels.png` below `folder`."""
    folders = MapFolders(folder / "scores", folder / "masks", draw_maps(count, seed))
    folders.scores.mkdir(parents=True)
    folders.truth.mkdir()
    for name, (scores, labels) in folders.maps.items():
        np.save(folders.scores / f"{name}.npy", scores)
        write_labels(folders.truth / f"{name}_labels.png", labels)
    return folders


def write_labels(path: Path, labels: np.ndarray) -> None:
    Image.fromarray(np.asarray(labels, np.uint8)).save(path)
