"""Flicker of a model's results on videos, without and with temporal filtering and tracking.

    python benchmarks/flicker.py VIDEO... --config CONFIG [--checkpoint FILE] [--frames 60]

Each frame is predicted once. All variants use the same scores and one threshold, which flags the
share `--flagged` of all pixels of the unfiltered maps of a video. Flicker is measured by
`ood_seg.perception.core.flicker` along another optical flow (Farneback, 2003) than that of the
filter. `same mask` is the mean IoU with the unfiltered mask of the same frame, which a filter that
only delays would lose; `boxes` is the number of boxes per frame, `changed` how many of them appear
or disappear.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.flicker import FlickerMeter
from ood_seg.perception.core.motion import backward_motion
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Frame, Prediction
from ood_seg.perception.io.frames import open_frames

COLUMNS = ("scores", "pixels", "mask", "boxes", "changed", "same mask", "ms")


@dataclass
class Variant:
    """One way from the scores to the results."""

    temporal: TemporalFilter | None = None
    tracker: InstanceTracker | None = None


def main() -> None:
    """Predict each video once and print a table for it."""
    args = parse_arguments()
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.apis import AnomalyInferencer

    inferencer = AnomalyInferencer(args.config, args.checkpoint, args.device, calibration=False)
    for path in args.videos:
        seen = predicted(inferencer, path, args.frames)
        scores = np.concatenate([prediction.anomaly[::4, ::4].ravel() for _, prediction in seen])
        threshold = float(np.quantile(scores, 1 - args.flagged))
        height, width = seen[0][1].anomaly.shape
        print(
            f"\n{path}: {len(seen)} frames of {width}x{height}, flagged from {threshold:.3f} on, "
            f"weight {args.weight}, boxes from {args.min_area} pixels\n"
        )
        print("| variant | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|")
        decide = partial(
            DecisionRule(threshold, min_area=args.min_area),
            palette=inferencer.palette,
            score_name=inferencer.score_name,
        )
        for name, variant in variants(args.weight).items():
            values = measure(variant, seen, decide)
            cells = (format_value(key, values[key]) for key in COLUMNS)
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--config", required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--device")
    parser.add_argument("--frames", type=int, default=60, help="of each video, from its start")
    parser.add_argument("--flagged", type=float, default=0.02, help="share of the pixels")
    parser.add_argument("--weight", type=float, default=0.5, help="of the new frame")
    parser.add_argument("--min-area", type=int, default=200, help="pixels of an instance")
    return parser.parse_args()


def predicted(inferencer, path: str, frames: int) -> list[tuple[Frame, Prediction]]:
    """The first frames of a video with their predictions."""
    seen = []
    for frame in itertools.islice(open_frames(path), frames):
        seen.append((frame, inferencer.predict([frame.image])[0]))
        print(f"\r{path}: frame {len(seen)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return seen


def variants(weight: float) -> dict[str, Variant]:
    """What is compared."""
    return {
        "each frame alone": Variant(),
        "average": Variant(TemporalFilter(weight, motion=False)),
        "average along the motion": Variant(TemporalFilter(weight)),
        "tracker": Variant(tracker=InstanceTracker()),
        "average along the motion, tracker": Variant(TemporalFilter(weight), InstanceTracker()),
    }


def measure(
    variant: Variant, seen: list[tuple[Frame, Prediction]], decide: Callable
) -> dict[str, float]:
    """Flicker, boxes, likeness to the unfiltered mask, and milliseconds a frame."""
    meter = FlickerMeter(partial(backward_motion, estimate=farneback))
    boxes, likeness, seconds = [], [], []
    for frame, prediction in seen:
        alone = decide(frame, prediction).mask != 0
        start = time.perf_counter()
        if variant.temporal is not None:
            prediction = variant.temporal(frame, prediction)
        result = decide(frame, prediction)
        if variant.tracker is not None:
            result = variant.tracker(result)
        seconds.append(time.perf_counter() - start)
        meter.update(result)
        boxes.append(len(result.instances))
        mask = result.mask != 0
        if (mask | alone).any():
            likeness.append((mask & alone).sum() / (mask | alone).sum())
    values = meter.summary()
    return values | {
        "changed": values["boxes"],
        "boxes": float(np.mean(boxes)),
        "same mask": float(np.mean(likeness)),
        "ms": 1000 * float(np.median(seconds)),
    }


def farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow from the first to the second grey frame."""
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 4, 15, 3, 7, 1.5, 0)


def format_value(key: str, value: float) -> str:
    """A cell of the table."""
    if key in ("pixels", "mask", "same mask"):
        return f"{100 * value:.2f} %" if key == "pixels" else f"{value:.3f}"
    return f"{value:.0f}" if key == "ms" else f"{value:.3f}" if key == "scores" else f"{value:.1f}"


if __name__ == "__main__":
    main()
