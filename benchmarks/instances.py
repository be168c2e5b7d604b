"""Objects of a decision against the components of the ground truth, by the way they are found.

    python benchmarks/instances.py CONFIG [CHECKPOINT] --sets road_anomaly fs_static

Each image is predicted once, at its own size. The threshold is that of the best pixel F1 of the
set, as for published component metrics (the pixels of every fourth row and column). Rows: the
components of the flagged pixels; the same with sprawling ones split by the predicted class
(`ood_seg.perception.core.parts`), the default of a decision; each with `--boundary-suppression`.
`objects` are those per image, `found` the anomalies that one object covers alone with an IoU of at
least 0.25. `ms` is processor time of one thread per image, from the scores to the instances.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from ood_seg.metrics import pixel_metrics
from ood_seg.metrics.component import TRACKS, ComponentMetrics
from ood_seg.metrics.overlaps import label_components, match_components, overlaps
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.parts import components, split_components
from ood_seg.perception.core.types import Frame, Palette, Prediction
from ood_seg.reports.tables import Table

SIZES = TRACKS["anomaly"]
LEAST_IOU = 0.25
HEADER = ("way", "component F1", "sIoU", "PPV", "found", "per image", "ms")


class Sample(NamedTuple):
    """An image with its prediction and ground truth."""

    image: np.ndarray
    prediction: Prediction
    truth: np.ndarray


def main() -> None:
    """Predict every set once and print a table for each."""
    args = parse_arguments()
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.apis import AnomalyInferencer
    from ood_seg.comparison.anomaly_sets import anomaly_sets

    cv2.setNumThreads(1)
    inferencer = AnomalyInferencer(args.config, args.checkpoint, args.device)
    for anomaly_set in anomaly_sets(inferencer.model.cfg, args.sets, args.num_images):
        samples = list(predicted(inferencer, anomaly_set))
        threshold = best_threshold(samples)
        print(f"\n{anomaly_set.name}: {len(samples)} images, flagged from {threshold:.3f} on\n")
        rows = []
        for width in (0, *args.widths):
            for split in (False, True):
                rule = DecisionRule(
                    threshold, min_area=SIZES.predicted, boundary_suppression=width, split=split
                )
                name = "split" if split else "components"
                suffix = f", --boundary-suppression {width}" if width else ""
                rows.append([name + suffix, *measured(rule, samples, inferencer.palette)])
        print(Table("", HEADER, rows).to_markdown(), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--device")
    parser.add_argument("--sets", nargs="+", default=["road_anomaly", "fs_static"])
    parser.add_argument("--num-images", type=int, help="only the first ones of each set")
    parser.add_argument("--widths", type=int, nargs="*", default=[7, 15, 25])
    return parser.parse_args()


def predicted(inferencer, anomaly_set) -> Iterator[Sample]:
    """The samples of a set."""
    for path, batch in zip(anomaly_set.image_paths(), anomaly_set.batches(), strict=True):
        image = cv2.imread(path)
        (prediction,) = inferencer.predict([image])
        yield Sample(image, prediction, np.asarray(anomaly_set.labels(batch), np.uint8))


def best_threshold(samples: list[Sample]) -> float:
    """The score from which pixels are flagged for the best F1 of a set."""
    scores = [sample.prediction.anomaly[::4, ::4].reshape(-1) for sample in samples]
    truth = [sample.truth[::4, ::4].reshape(-1) for sample in samples]
    found = pixel_metrics(np.concatenate(scores), np.concatenate(truth), best_f1=True)
    return found["best_f1_threshold"]


def measured(rule: DecisionRule, samples: list[Sample], palette: Palette) -> list[str]:
    """The cells of a rule."""
    metrics = ComponentMetrics(threshold=None, track="anomaly")
    seconds, found, true, objects = 0.0, 0, 0, 0
    for number, sample in enumerate(samples):
        start = time.process_time()
        result = rule(
            Frame(sample.image, str(number)), sample.prediction, palette=palette, score_name=""
        )
        seconds += time.process_time() - start
        mask = result.mask != 0
        parts = split_components(mask, sample.prediction.labels) if rule.split else components(mask)
        metrics.add(match_components(parts.numbers, sample.truth, SIZES))
        alone, of = found_alone(parts.numbers, sample.truth)
        found, true, objects = found + alone, true + of, objects + len(result.instances)
    values, count = metrics.compute(), len(samples)
    shares = [f"{100 * values[key]:.1f}" for key in ("mean_f1", "siou", "ppv")]
    cost = f"{1000 * seconds / count:.0f}"
    return [*shares, f"{found} of {true}", f"{objects / count:.1f}", cost]


def found_alone(parts: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """True components that one object of their own covers, and all true components."""
    components_of_truth, areas = label_components(truth == 1)
    sizes = np.bincount(parts.reshape(-1))[1:]
    of_truth, of_parts, shared = overlaps(components_of_truth, parts)
    ious = shared / (areas[of_truth] + sizes[of_parts] - shared)
    counted = (areas[of_truth] >= SIZES.truth) & (sizes[of_parts] >= SIZES.predicted)
    # Above an IoU of 0.25 several objects may match an anomaly, or one object several.
    used: tuple[set[int], set[int]] = (set(), set())
    for place in np.argsort(-ious):
        pair = int(of_truth[place]), int(of_parts[place])
        free = pair[0] not in used[0] and pair[1] not in used[1]
        if counted[place] and ious[place] >= LEAST_IOU and free:
            used[0].add(pair[0])
            used[1].add(pair[1])
    return len(used[0]), int(np.count_nonzero(areas >= SIZES.truth))


if __name__ == "__main__":
    main()
