"""Writes score maps to disk, one file per image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ood_seg.io.files import atomic_path


class ScoreMapWriter:
    """Writes each score map as `FOLDER/NAME.npy`, float32, shape `(H, W)`.

    Files are written atomically. Two images never share a file.

    Args:
        folder: where to write; created when the first map is written.
        image_root: folder of the images. Where given, maps are named by the image's path below
            it (subfolders are kept), otherwise by the stem of the image's file name.
    """

    def __init__(self, folder: str | Path, image_root: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.image_root = None if image_root is None else Path(image_root)
        self._image_of: dict[Path, str] = {}

    def target(self, image_path: str) -> Path:
        """File for the score map of an image.

        Raises:
            ValueError: the image does not lie below `image_root`.
        """
        image = Path(image_path)
        if self.image_root is None:
            return self.folder / f"{image.stem}.npy"
        root = self.image_root.absolute()
        if not image.absolute().is_relative_to(root):
            raise ValueError(
                f"image {image_path} does not lie below image_root {self.image_root}; give the "
                "folder that holds all images of the dataset"
            )
        below = image.absolute().relative_to(root)
        return self.folder / below.parent / f"{below.stem}.npy"

    def claim(self, image_path: str) -> Path:
        """Reserve the file of an image and return it; the same image may claim it again.

        Raises:
            ValueError: the file belongs to another image, or `target` fails.
        """
        target = self.target(image_path)
        other = self._image_of.setdefault(target, image_path)
        if other != image_path:
            remedy = (
                "give image_root, so that subfolders are kept"
                if self.image_root is None
                else "rename one of them"
            )
            raise ValueError(
                f"{other} and {image_path} would both be written to {target}; {remedy}"
            )
        return target

    def write(self, image_path: str, scores: np.ndarray) -> Path:
        """Write one map, shape `(H, W)`; a file of an earlier run is replaced.

        Returns:
            The file.

        Raises:
            ValueError: as `claim`.
        """
        target = self.claim(image_path)
        with atomic_path(target) as unfinished, unfinished.open("wb") as file:
            np.save(file, scores.astype(np.float32, copy=False))
        return target
