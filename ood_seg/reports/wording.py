"""Words and numbers of the reports, the same for every format.

Everything takes `Evaluations`: the evaluations by a label that is unique in the report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Evaluations = Mapping[str, Mapping[str, Any]]

UNDEFINED = "undefined"


class Metric(NamedTuple):
    """What a metric is called, whether more is better (None: not known), and what it means."""

    title: str
    more_is_better: bool | None
    meaning: str


_METRICS = {
    "auroc": Metric("AUROC", True, "area under the ROC curve"),
    "ap": Metric("AP", True, "average precision, the area under the precision-recall curve"),
    "best_f1": Metric("best F1", True, "F1 of anomalous pixels at the best threshold"),
}


def is_number(value: Any) -> bool:
    """Whether there is a number: neither None nor NaN."""
    return value is not None and math.isfinite(value)


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction of 1 as percent without the sign, such as 17.04."""
    if not is_number(value):
        return UNDEFINED
    # Adding zero turns -0.0 into 0.0, which would else be printed with its sign.
    return f"{round(100 * value, digits) + 0.0:.{digits}f}"


def percent_range(pair: Sequence[float | None] | None, digits: int = 2) -> str:
    """An interval as percent; `-` where there is none."""
    if pair is None:
        return "-"
    if not all(map(is_number, pair)):
        return UNDEFINED
    return f"{percent(pair[0], digits)} to {percent(pair[1], digits)}"


def percent_bounds(pair: Sequence[float | None] | None, digits: int = 4) -> str:
    """As `percent_range`, rounded outwards: what surely lies within the pair does so in print."""
    if pair is None or not all(map(is_number, pair)):
        return percent_range(pair)
    unit = 10 ** (digits + 2)
    return percent_range(
        (math.floor(pair[0] * unit) / unit, math.ceil(pair[1] * unit) / unit), digits
    )


def number(value: float | None) -> str:
    """A threshold or a mean with six digits; a count in full, in groups of three."""
    if not is_number(value):
        return UNDEFINED
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def described(metric: str) -> Metric:
    """The words for a metric; an unknown one keeps its name."""
    if match := re.fullmatch(r"fpr(\d+(\.\d+)?)", metric):
        rate = match[1]
        meaning = f"share of known pixels flagged where {rate} % of the anomalous ones are"
        return Metric(f"FPR{rate}", False, meaning)
    return _METRICS.get(metric, Metric(metric, None, "-"))


def title_of(metric: str) -> str:
    """Short title of a metric."""
    return described(metric).title


def heading_of(metric: str) -> str:
    """Title with an arrow to the better side."""
    title, more_is_better, _ = described(metric)
    return title if more_is_better is None else f"{title} {'↑' if more_is_better else '↓'}"


def metric_names(evaluations: Evaluations) -> list[str]:
    """Metrics of all evaluations in order of appearance."""
    return list(dict.fromkeys(name for one in evaluations.values() for name in one["metrics"]))


def chance(evaluation: Mapping[str, Any], metric: str) -> float | None:
    """What random scores reach in expectation over all pixels; None where that is not known."""
    known, anomalous = (evaluation["pixels"][kind] for kind in ("known", "anomalous"))
    if not known or not anomalous or evaluation["protocol"]["name"] == "per-image":
        return None
    share = anomalous / (known + anomalous)
    if metric.startswith("fpr"):
        return float(metric.removeprefix("fpr")) / 100
    return {"auroc": 0.5, "ap": share, "best_f1": 2 * share / (1 + share)}.get(metric)


def why_undefined(pixels: Mapping[str, int]) -> str:
    """The reason why a metric over these pixels has no value."""
    absent = [kind for kind in ("known", "anomalous") if not pixels[kind]]
    if absent:
        return f"the ground truth holds no {' and no '.join(absent)} pixel"
    return "it is 0 / 0 for these scores"


def has_interval(entry: Mapping[str, Any]) -> bool:
    """Whether a metric has an interval of two numbers."""
    return bool(entry.get("interval")) and all(map(is_number, entry["interval"]))


def level(evaluation: Mapping[str, Any]) -> str:
    """The level of the intervals, such as '95 %'."""
    interval = evaluation.get("interval") or {"level": math.nan}
    return f"{100 * interval['level']:g} %"


def ranked_images(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Images by rising AP; those without one last."""
    images = evaluation.get("images") or []
    return sorted(images, key=lambda image: image["ap"] if is_number(image["ap"]) else math.inf)
