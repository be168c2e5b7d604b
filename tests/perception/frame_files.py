"""Image and video files for the tests of frame sources."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from fake_segmentor import random_image


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), random_image(seed))
    return path


def write_video(path: Path, frames: int, rate: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 8 * index, np.uint8))
    writer.release()
    return path
