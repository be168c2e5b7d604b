"""Reports of the outlier sets of an image-level test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ood_seg.classification.evaluations import SCORES_FILE, image_evaluation, read_scores
from ood_seg.reports.image_examples import IMAGES
from ood_seg.reports.writing import write_reports


def write_image_reports(
    content: Mapping[str, Any], folder: str | Path, *, known: str, method: str
) -> dict[str, Path]:
    """Write `SET/report.html` and its tables beside the `SET/scores.csv` of each outlier set.

    Args:
        content: of `metrics.json`, as `engine.testing.test` returns it.
        folder: that holds the folders of the sets.
        known: name of the set of known test images.
        method: name for the reports.

    Returns:
        The pages by set.

    Raises:
        FileNotFoundError, ValueError: a `scores.csv` is missing or damaged.
    """
    images = read_scores(Path(folder) / known / SCORES_FILE)
    pages = {}
    for name, one in content["sets"].items():
        if name == known:
            continue
        options = next(iter(one["evaluator"]))
        intervals = {
            metric: [low / 100, high / 100]
            for metric, (low, high) in (one["intervals"] or {}).items()
        }
        evaluation = image_evaluation(
            images,
            read_scores(Path(folder) / name / SCORES_FILE),
            method=method,
            data_set=name,
            classes=content.get("classes") or (),
            protocol=options.get("protocol", "pooled"),
            intervals=intervals,
            resamples=options.get("resamples", 200),
        )
        pages[name] = write_reports(evaluation, Path(folder) / name, max_images=IMAGES)["html"]
    return pages
