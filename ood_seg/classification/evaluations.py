"""Evaluations of image-level test sets, with the content of the `evaluation.json` of score maps.

```
SET/scores.csv of `ood-seg test --out` -> read_scores -> image_evaluation -> ood_seg.reports
```
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ood_seg import __version__
from ood_seg.classification.protocols import get_image_protocol
from ood_seg.evaluation import summary
from ood_seg.evaluation.run import SCHEMA
from ood_seg.io.provenance import git_commit
from ood_seg.labels import OUTLIER
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.ranking import rank_anomalous

COLUMNS = ("image", "label", "predicted", "score")
SCORES_FILE = "scores.csv"
NOT_PREDICTED = -1
# The same of both kinds are listed, as a page with every image of CIFAR would be slow.
_LISTED = 100


class ScoredImages(NamedTuple):
    """Images of a test set.

    Attributes:
        paths: of each image, or its name where it has no file of its own.
        labels: `(N,)`, a known class or `OUTLIER`.
        predicted: `(N,)` the most likely known class, or `NOT_PREDICTED`.
        scores: `(N,)` float32.
    """

    paths: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray


def read_scores(path: Path) -> ScoredImages:
    """Read a `scores.csv` of `ood-seg test --out`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, no row, or a value that is no finite number.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if not rows or tuple(rows[0]) != COLUMNS or len(rows) < 2:
        raise ValueError(f"{path}: expected rows with the columns {', '.join(COLUMNS)}")
    try:
        paths, labels, predicted, scores = zip(*rows[1:], strict=True)
        found = ScoredImages(
            list(paths),
            np.array(labels, np.int64),
            np.array(predicted, np.int64),
            np.array(scores, np.float32),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not np.isfinite(found.scores).all():
        raise ValueError(f"{path}: a score is NaN or infinite")
    return found


def image_evaluation(
    known: ScoredImages,
    other: ScoredImages,
    *,
    method: str,
    data_set: str,
    classes: Sequence[str] = (),
    protocol: str = "pooled",
    intervals: Mapping[str, Sequence[float]] | None = None,
    resamples: int = 0,
) -> dict[str, Any]:
    """Evaluate the outlier images of a set against the known test images.

    Each image counts as a pixel does in the evaluation of score maps, and `unit` is `image`. In
    `images` stand those that are furthest on the wrong side, the right side and in the middle:
    the `auroc` of an image is the share of the images of the other kind that lie on the right side
    of it, ties counted half, so that its mean over the outliers is the AUROC of the set.

    Args:
        known: the known test images.
        other: of the set; those with the label of a known class count as known.
        method: name of the score or model.
        data_set: name of the set.
        classes: names of the known classes.
        protocol: of `ood_seg.classification.protocols`.
        intervals: 95 % intervals by metric, fractions of 1.
        resamples: of their bootstrap.

    Raises:
        ValueError: an unknown protocol, or no image of one kind.
    """
    is_outlier = np.concatenate([np.zeros(len(known.paths), bool), other.labels == OUTLIER])
    everything = ScoredImages(
        known.paths + other.paths,
        *(np.concatenate(pair) for pair in zip(known[1:], other[1:], strict=True)),
    )
    outlier_scores = everything.scores[is_outlier]
    known_scores = everything.scores[~is_outlier]
    if not outlier_scores.size or not known_scores.size:
        raise ValueError(
            f"{data_set}: expected known and outlier images, got {known_scores.size} and "
            f"{outlier_scores.size}"
        )
    computed = get_image_protocol(protocol)
    merged = ScoreHistogram.from_classes(known_scores, outlier_scores)
    counts = rank_anomalous([known_scores], outlier_scores, known_scores.size)
    values = computed.compute(known_scores, outlier_scores)
    content = summary.pixel_section(counts, values, None, streaming=False, tprs=(0.95,))
    for name, (low, high) in (intervals or {}).items():
        content["metrics"][name]["interval"] = [low, high]
    if intervals:
        content["interval"] = {"level": 0.95, "samples": resamples, "unit": "images"}
    return {
        "schema": SCHEMA,
        "unit": "image",
        "method": method,
        "data_set": data_set,
        "num_images": len(everything.paths),
        "pixels": summary.pixel_counts(merged),
        "protocol": {"name": computed.name, "description": computed.description},
        "mode": "exact",
        "reader": {},
        "seed": 0,
        "version": __version__,
        "commit": git_commit(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "histogram": summary.display_histogram(merged),
        **content,
        "calibration": None,
        "components": None,
        "closed_set": None,
        "images": _listed_images(everything, is_outlier, classes),
        "notes": [],
    }


def _listed_images(
    images: ScoredImages, is_outlier: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The worst, the middle and the best images of each kind."""
    rows = []
    for kind in (True, False):
        own, others = np.flatnonzero(is_outlier == kind), np.sort(images.scores[is_outlier != kind])
        scores = images.scores[own]
        below = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
        right = below / (2 * others.size) if kind else 1 - below / (2 * others.size)
        order = np.lexsort((scores if kind else -scores, right))
        for place in _spread(len(order), _LISTED):
            index, auroc = own[order[place]], float(right[order[place]])
            rows.append(_row(images, int(index), auroc, outlier=kind, classes=classes))
    return rows


def _spread(count: int, most: int) -> list[int]:
    """Places among `count`: all, or a third of `most` each at the start, the middle, the end."""
    if count <= most:
        return list(range(count))
    third = most // 3
    middle = (count - third) // 2
    starts = (0, middle, count - third)
    return [place for start in starts for place in range(start, start + third)]


def _row(
    images: ScoredImages, index: int, auroc: float, *, outlier: bool, classes: Sequence[str]
) -> dict[str, Any]:
    predicted, label = int(images.predicted[index]), int(images.labels[index])

    def name(number: int) -> str:
        return str(classes[number]) if number < len(classes) else str(number)

    path = images.paths[index]
    return {
        "name": "/".join(Path(path).parts[-2:]),
        "known": int(not outlier),
        "anomalous": int(outlier),
        "ignored": 0,
        "auroc": auroc,
        "ap": None,
        "fpr95": None,
        "score": float(images.scores[index]),
        "label": None if outlier else name(label),
        "predicted": None if predicted == NOT_PREDICTED else name(predicted),
        "scores": None,
        "ground_truth": None,
        "image": path,
    }
