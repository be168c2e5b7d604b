"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np


def unfinished_path(path: Path) -> Path:
    """A hidden name beside `path`, of this process alone and with the same suffix."""
    return path.with_name(f".{path.stem}.{socket.gethostname()}.{os.getpid()}.part{path.suffix}")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place only when the block has ended without an error.

    Processes that write the same file do not disturb each other: the last one to end wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_path(path)
    try:
        with unfinished.open("wb") as stream:
            yield stream
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a `.npy` file of float32 values."""
    with whole_file(path) as stream:
        np.save(stream, values.astype(np.float32, copy=False))


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write a PNG: `(H, W)` uint8 or uint16, or `(H, W, 3)` uint8 BGR."""
    encoded = cv2.imencode(".png", picture)[1]
    with whole_file(path) as stream:
        stream.write(encoded.data)
