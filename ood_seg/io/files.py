"""Atomic writes: a file appears complete or not at all, however the process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Context manager: a temporary path beside `path` that replaces it when the block succeeds.

    Parent folders are created. The hidden temporary name is random, so that concurrent processes
    do not interfere, on a shared file system either. The temporary file is removed after an
    error; only a killed process leaves it behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically and return its path."""
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 file atomically and return its path.

    Surrogate escapes, as in file names that are not UTF-8, are written as `\\udcXX`.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write a uint8 image atomically in the format of the suffix, and return its path.

    Args:
        path: file to write.
        image: `(H, W)` grey or `(H, W, 3)` BGR.

    Raises:
        ValueError: OpenCV cannot write that format.
    """
    import cv2

    try:
        encoded = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        raise ValueError(
            f"{path}: images cannot be written as {path.suffix!r}; use .png or .jpg"
        ) from error
    return write_bytes(path, encoded.tobytes())
