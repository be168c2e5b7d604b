"""Files that appear complete or not at all, whatever ends the writing."""

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
    """Give a path beside `path` to write to, which takes its name when the block has succeeded.

    Folders are made. The hidden name is drawn at random, so that processes on any machine which
    write the same file stay apart; it is removed after an error, and left behind by a kill alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file, and return its path."""
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a file as UTF-8, and return its path; file names' odd bytes appear as `\\udcXX`."""
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_image(path: Path, picture: np.ndarray) -> Path:
    """Write `(H, W)` or `(H, W, 3)` BGR, uint8, in the format that the suffix names.

    Raises:
        ValueError: OpenCV writes no such format.
    """
    import cv2

    try:
        encoded = cv2.imencode(path.suffix, picture)[1]
    except cv2.error as error:
        raise ValueError(
            f"{path}: pictures cannot be written as {path.suffix!r}; use .png or .jpg"
        ) from error
    return write_bytes(path, encoded.tobytes())
