"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file under another name first, then move it into its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Write `(H, W)` or `(H, W, 3)` BGR, uint8, in the format that the suffix names.

    Raises:
        ValueError: OpenCV writes no such format.
    """
    try:
        encoded = cv2.imencode(path.suffix, picture)[1]
    except cv2.error as error:
        raise ValueError(
            f"{path}: pictures cannot be written as {path.suffix!r}; use .png or .jpg"
        ) from error
    return write_bytes(path, encoded.tobytes())
