"""Processor time of the overlay styles, of objects and of the decision.

    python benchmarks/overlay.py [--size 1000x1000 1024x2048 2160x3840] [--objects 12] [--repeat 41]

A drawn result: flagged ellipses on noise, a region, a calibration. Median milliseconds of one
thread, also per megapixel, and the ratio to the reference `cv2.addWeighted` of two images of the
same size, which every heat map over an image needs. All rows are measured in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.overlay import STYLES
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame, Palette, Prediction
from ood_seg.reports.tables import Table

PALETTE = Palette(("road", "sky", "car"), ((128, 64, 128), (70, 130, 180), (0, 0, 142)))


def main() -> None:
    """Measure and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", default=["1000x1000", "1024x2048", "2160x3840"])
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=41)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    for size in args.size:
        height, width = map(int, size.split("x"))
        calls = calls_of(height, width, args.objects)
        times = measured(calls, args.repeat)
        reference = times["reference: cv2.addWeighted"]
        rows = [
            [
                name,
                f"{1e3 * one:.2f}",
                f"{1e9 * one / height / width:.2f}",
                f"{one / reference:.2f}",
            ]
            for name, one in times.items()
        ]
        print(f"\n{height}x{width}, {args.objects} objects\n")
        print(Table("", ("", "ms", "ms per megapixel", "ratio"), rows).to_markdown())


def calls_of(height: int, width: int, objects: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    scores = rng.normal(-8, 1, (height, width)).astype(np.float32)
    for _ in range(objects):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = tuple(int(one) for one in rng.integers(height // 60, height // 8, 2))
        cv2.ellipse(scores, centre, axes, float(rng.integers(0, 180)), 0, 360, 2.0, cv2.FILLED)
    labels = np.repeat(np.uint8([1, 2, 0]), [height // 3, height // 3, height - 2 * (height // 3)])
    labels = np.ascontiguousarray(np.broadcast_to(labels[:, None], (height, width)))
    prediction = Prediction(labels, scores, 1 / (1 + np.exp(-scores)))
    frame, inside = Frame(image, "drawn"), np.indices((height, width))[0] > height // 3

    def decide() -> AnomalyResult:
        rule = DecisionRule(0.0, "fpr 1%", region=lambda labels: inside)
        return rule(frame, prediction, palette=PALETTE, score_name="Energy", model="drawn")

    result = decide()
    calls: dict[str, Callable[[], object]] = {
        "reference: cv2.addWeighted": lambda: cv2.addWeighted(image, 0.5, image, 0.5, 0)
    }
    for style in STYLES:
        calls[f"overlay, {style}"] = lambda style=style: result.overlay(style)
    calls["decision and objects"] = decide
    return calls


def measured(calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median processor seconds of each call, after one that is not timed."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeat + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
