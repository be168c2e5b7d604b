"""Metrics of image-level test sets in mmengine's evaluator."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from ood_seg.classification.evaluations import COLUMNS, SCORES_FILE
from ood_seg.classification.protocols import get_image_protocol
from ood_seg.io.files import write_text
from ood_seg.labels import OUTLIER
from ood_seg.metrics.bootstrap import bootstrap_metrics
from ood_seg.metrics.histogram import ScoreHistogram


@dataclass
class KnownScores:
    """Scores of the known test images, which all outlier sets are compared with.

    Attributes:
        scores: `(K,)`; None until the known set has been evaluated.
    """

    scores: np.ndarray | None = None


class _ImageMetric(BaseMetric):
    """Base: collects path, label, predicted class and score of each image.

    Args:
        output_dir: folder for `scores.csv`, one for each set; None writes nothing.
        prefix, collect_device: of `BaseMetric`.

    Attributes:
        known: set by the test loop, shared by the metrics of all sets.
    """

    def __init__(
        self,
        *,
        output_dir: str | Path | None = None,
        prefix: str | None = None,
        collect_device: str = "cpu",
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.output_dir = output_dir
        self.known = KnownScores()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what the metrics need of a batch.

        Raises:
            ValueError: a score is NaN or infinite; names the image.
        """
        for sample in data_samples:
            score = float(sample["pred_anomaly"])
            if not np.isfinite(score):
                raise ValueError(f"image {sample.get('img_path')}: its score is {score}")
            label, predicted = int(sample["gt_label"]), int(sample["pred_label"])
            self.results.append((sample["img_path"], label, predicted, score))

    def _columns(self, results: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, predicted classes and scores `(N,)`; writes the file if there is a folder.

        Raises:
            ValueError: there is no image.
        """
        if not results:
            raise ValueError(f"{type(self).__name__} got no image; its dataset is empty")
        if self.output_dir is not None:
            text = io.StringIO()
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(COLUMNS)
            rows.writerows(results)
            write_text(Path(self.output_dir) / SCORES_FILE, text.getvalue())
        _, labels, predicted, scores = zip(*results, strict=True)
        return np.array(labels), np.array(predicted), np.array(scores, np.float32)


@METRICS.register_module()
class ImageAccuracyMetric(_ImageMetric):
    """Accuracy on the known test images in percent, also by the frequency of the class.

    Gives `accuracy`, and with `class_counts` also `accuracy_many`, `accuracy_medium` and
    `accuracy_few`, means over the classes of that kind that there are.

    Args:
        class_counts: training images of each class.
        shots: a class with more images than the second number is many-shot, with fewer than the
            first few-shot. (20, 100) is that of Liu et al., "Large-Scale Long-Tailed Recognition
            in an Open World", CVPR 2019.
        **options: `output_dir`, `prefix`, `collect_device`.
    """

    default_prefix = "image"

    def __init__(
        self,
        *,
        class_counts: Sequence[int] | None = None,
        shots: tuple[int, int] = (20, 100),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.class_counts, self.shots = class_counts, shots

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Accuracies in percent; keeps the scores for the outlier sets.

        Raises:
            ValueError: there is no image, one is an outlier, or its class has no count.
        """
        labels, predicted, self.known.scores = self._columns(results)
        count = OUTLIER if self.class_counts is None else len(self.class_counts)
        if labels.max() >= count:
            raise ValueError(f"labels of the known set must be 0..{count - 1}, got {labels.max()}")
        right = labels == predicted
        metrics = {"accuracy": 100 * float(right.mean())}
        if self.class_counts is not None:
            few, many = self.shots
            kinds: dict[str, list[float]] = {}
            for label, number in enumerate(self.class_counts):
                kind = "many" if number > many else "few" if number < few else "medium"
                if (labels == label).any():
                    kinds.setdefault(kind, []).append(100 * float(right[labels == label].mean()))
            metrics |= {f"accuracy_{kind}": float(np.mean(v)) for kind, v in kinds.items()}
        return metrics


@METRICS.register_module()
class ImageAnomalyMetric(_ImageMetric):
    """Detection of the outlier images of a set against the known test images, in percent.

    Known are the test images of the loop's known set, and those of this set that show a known class
    (SC-OOD lists).

    Args:
        protocol: of `ood_seg.classification.protocols`; the default gives all metrics.
        resamples: of the bootstrap over images for intervals; 0: none.
        **options: `output_dir`, `prefix`, `collect_device`.

    Attributes:
        intervals: 95 % intervals `[low, high]` in percent of auroc, ap and fpr95, after an
            evaluation.

    Raises:
        ValueError: an unknown protocol, or fewer than 0 resamples.
    """

    default_prefix = "image"

    def __init__(self, *, protocol: str = "pooled", resamples: int = 200, **options: Any) -> None:
        super().__init__(**options)
        if resamples < 0:
            raise ValueError(f"resamples must be at least 0, got {resamples}")
        self.protocol = get_image_protocol(protocol)
        self.resamples = resamples
        self.intervals: dict[str, list[float]] = {}

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Metrics in percent.

        Raises:
            ValueError: there is no outlier image, or no known set was evaluated before.
        """
        labels, _, scores = self._columns(results)
        outliers, own_known = scores[labels == OUTLIER], scores[labels != OUTLIER]
        if self.known.scores is None or not outliers.size:
            raise ValueError(
                "outlier images are compared with the known test images: a test needs "
                "ImageLevelTestLoop with its known set, and at least one outlier image; got "
                f"{outliers.size}"
            )
        known = np.concatenate([self.known.scores, own_known])
        if self.resamples:
            self.intervals = _intervals(known, outliers, self.resamples)
        metrics = self.protocol.compute(known, outliers)
        print_log(
            f"Image-level metrics: {known.size} known and {outliers.size} outlier images; protocol "
            f"{self.protocol.name} ({self.protocol.description}).",
            logger="current",
        )
        return {name: 100 * value for name, value in metrics.items()}


def _intervals(known: np.ndarray, outliers: np.ndarray, samples: int) -> dict[str, list[float]]:
    """95 % bootstrap intervals over images in percent."""
    nothing = np.empty(0, np.float32)
    images = [ScoreHistogram.from_classes(known[i : i + 1], nothing) for i in range(known.size)]
    images += [ScoreHistogram.from_classes(nothing, one[None]) for one in outliers]
    found = bootstrap_metrics(images, samples=samples).intervals
    return {
        name: [100 * found[name].low, 100 * found[name].high] for name in ("auroc", "ap", "fpr95")
    }
