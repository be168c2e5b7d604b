"""What the reports read from evaluations, the same for every format.

`Evaluations` are the contents of `evaluation.json` by a label that is unique in the report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ood_seg.evaluation.methods import all_contents, free_name
from ood_seg.evaluation.run import SCHEMA
from ood_seg.metrics.formatting import is_number
from ood_seg.metrics.protocols import PROTOCOLS

Evaluations = Mapping[str, Mapping[str, Any]]


def by_label(evaluations: Sequence[Mapping[str, Any]]) -> Evaluations:
    """The content of every method by its name, which gets a number where it occurs again.

    Raises:
        ValueError: no evaluation, one of another schema, or of another dataset than the first.
    """
    if not evaluations:
        raise ValueError("a report needs at least one evaluation, got none")
    evaluations = [content for one in evaluations for content in all_contents(one)]
    for evaluation in evaluations:
        if evaluation.get("schema") != SCHEMA:
            raise ValueError(
                f"evaluation: expected schema {SCHEMA!r}, got {evaluation.get('schema')!r}"
            )
    datasets = list(dict.fromkeys(evaluation["data_set"] for evaluation in evaluations))
    if len(datasets) > 1:
        raise ValueError(
            f"methods are compared on one dataset, got {', '.join(map(repr, datasets))}; write "
            "one report for each"
        )
    found: dict[str, Mapping[str, Any]] = {}
    for evaluation in evaluations:
        found[free_name(evaluation["method"], found)] = evaluation
    return found


def unit(evaluations: Evaluations) -> str:
    """What is classified as known or anomalous: `pixel`, or `image` of an image-level set."""
    return str(next(iter(evaluations.values())).get("unit", "pixel"))


def metric_names(evaluations: Evaluations) -> list[str]:
    """Metrics of all evaluations in order of appearance."""
    return list(dict.fromkeys(name for one in evaluations.values() for name in one["metrics"]))


def chance(evaluation: Mapping[str, Any], metric: str) -> float | None:
    """What random scores reach in expectation over all pixels; None where that is not known."""
    share = share_of_anomalies(evaluation)
    protocol = PROTOCOLS.get(evaluation["protocol"]["name"])
    if share in (0, 1) or (protocol is not None and protocol.by_image):
        return None
    if evaluation.get("unit") == "image" and evaluation["protocol"]["name"] != "pooled":
        return None  # some draw among the outliers
    if metric.startswith("fpr"):
        return float(metric.removeprefix("fpr").removesuffix("_known")) / 100
    return {
        "auroc": 0.5,
        "ap": share,
        "ap_known": 1 - share,
        "best_f1": 2 * share / (1 + share),
        "detection_error": 0.5,
    }.get(metric)


def share_of_anomalies(evaluation: Mapping[str, Any]) -> float:
    """Share of anomalous pixels among the valid ones; 0 without valid pixels."""
    known, anomalous = (evaluation["pixels"][kind] for kind in ("known", "anomalous"))
    return anomalous / max(known + anomalous, 1)


def why_undefined(pixels: Mapping[str, int], unit: str = "pixel") -> str:
    """The reason why a metric over these pixels has no value."""
    absent = [kind for kind in ("known", "anomalous") if not pixels[kind]]
    if absent:
        return f"the ground truth holds no {' and no '.join(absent)} {unit}"
    return "it is 0 / 0 for these scores"


def has_interval(entry: Mapping[str, Any]) -> bool:
    """Whether a metric has an interval of two numbers."""
    return bool(entry.get("interval")) and all(map(is_number, entry["interval"]))


def level(evaluation: Mapping[str, Any]) -> str:
    """The level of the intervals, such as '95 %'."""
    interval = evaluation.get("interval") or {"level": math.nan}
    return f"{100 * interval['level']:g} %"


def interval_levels(evaluations: Evaluations) -> str:
    """The levels of all intervals, such as `95 %`; empty without intervals."""
    return " and ".join(sorted({level(one) for one in evaluations.values() if one.get("interval")}))


def ranked_images(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Images by rising AP; those without one last."""
    images = evaluation.get("images") or []
    return sorted(images, key=lambda image: image["ap"] if is_number(image["ap"]) else math.inf)
