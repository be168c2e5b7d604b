"""A clip of a drive with two drawn obstacles coming closer: the images of docs/gallery.md.

    python benchmarks/drawn_obstacles.py udacity_solidWhiteRight.mp4 obstacles.mp4

The obstacles are objects of `ood-seg demo`, placed for the camera and road of this clip, every
second frame from 60 to 140. Only sets of one's own drawing may be shown where the datasets of the
field are for research only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from ood_seg.demo.objects import OBJECT_KINDS, cut_out, draw_object

FRAMES = range(60, 140, 2)
RATE = 10.0  # of the written clip
HORIZON = 300  # row of the clip


def with_object(
    frame: np.ndarray, kind: str, seed: int, foot: tuple[float, float], height: float
) -> np.ndarray:
    """A BGR frame with an object and its shadow standing on the pixel `foot` (x, y)."""
    rgb, mask = cut_out(
        draw_object(OBJECT_KINDS[kind][1], 256, np.random.default_rng(seed)), height
    )
    rows, columns = mask.shape
    x, y = map(round, foot)
    shadow = np.zeros(frame.shape[:2], np.float32)
    cv2.ellipse(shadow, (x, y - 2), (int(columns * 0.55), max(3, rows // 10)), 0, 0, 360, 1, -1)
    frame = frame * (1 - 0.45 * cv2.GaussianBlur(shadow, (0, 0), 3)[..., None])
    soft = cv2.GaussianBlur((mask > 0).astype(np.float32), (0, 0), 0.7)[..., None]
    place = np.s_[y - rows : y, x - columns // 2 : x - columns // 2 + columns]
    frame[place] = frame[place] * (1 - soft) + cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) * soft
    return frame.astype(np.uint8)


def main() -> None:
    """Read the clip and write the new one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, help="960x540")
    parser.add_argument("out", type=Path, help=".mp4")
    args = parser.parse_args()
    source, index, kept = cv2.VideoCapture(str(args.clip)), 0, []
    while (read := source.read())[0]:
        if index in FRAMES:
            kept.append(read[1])
        index += 1
    size = kept[0].shape[1::-1]
    writer = cv2.VideoWriter(str(args.out), cv2.VideoWriter_fourcc(*"mp4v"), RATE, size)
    for frame, distance in zip(kept, np.linspace(7, 1.8, len(kept)), strict=True):
        foot = (440 - 100 / distance, HORIZON + 160 / distance)
        frame = with_object(frame, "cow", 1, foot, round(120 / distance))
        foot = (500 + 50 / distance, HORIZON + 12 + 230 / distance)
        writer.write(with_object(frame, "couch", 3, foot, round(190 / distance)))
    writer.release()


if __name__ == "__main__":
    main()
