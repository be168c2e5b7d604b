"""Image and video files for the tests of frame sources."""

from __future__ import annotations

from collections.abc import Sequence
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


def write_uneven_video(path: Path, times: Sequence[float], base: int = 1000) -> Path:
    """Write a video whose frame k, painted 8 k, is shown at `times[k]` seconds.

    Args:
        path: .mkv, .mp4 or .mov.
        times: multiples of 1 / base.
        base: rate that the container states, where it does not average.
    """
    code, size = cv2.VideoWriter_fourcc(*"MJPG"), (64, 48)
    options = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, base, size, options)
    for index, time in enumerate(times):
        writer.set(cv2.VIDEOWRITER_PROP_PTS, round(time * base))
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, 1)
        writer.write(cv2.imencode(".jpg", np.full((48, 64, 3), 8 * index, np.uint8))[1].reshape(-1))
    writer.release()
    return path
