"""Names of metrics and numbers as text, for tables, reports and log lines."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

UNDEFINED = "undefined"
ABSENT = "-"


class MetricDescription(NamedTuple):
    """A metric in words.

    Attributes:
        title: short title, such as `AUROC`.
        more_is_better: None for a metric that is not known here.
        meaning: half a sentence.
    """

    title: str
    more_is_better: bool | None
    meaning: str


_METRICS = {
    "auroc": MetricDescription("AUROC", True, "area under the ROC curve"),
    "ap": MetricDescription(
        "AP", True, "average precision, the area under the precision-recall curve"
    ),
    "ap_known": MetricDescription("AP known", True, "average precision, known class positive"),
    "fpr95_known": MetricDescription(
        "FPR95 known", False, "share of outliers accepted where 95 % of the known images are"
    ),
    "detection_error": MetricDescription(
        "detection error", False, "smallest mean of both error rates"
    ),
    "best_f1": MetricDescription("best F1", True, "F1 of anomalous pixels at the best threshold"),
}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def percent(value: float | None, digits: int = 2) -> str:
    """A fraction of 1 in percent without the percent sign, such as `17.04`."""
    if not is_number(value):
        return UNDEFINED
    # Adding zero turns -0.0 into 0.0, which would otherwise be printed with its sign.
    return f"{round(100 * value, digits) + 0.0:.{digits}f}"


def percent_range(pair: Sequence[float | None] | None, digits: int = 2) -> str:
    """An interval in percent, such as `15.20 to 18.91`; `-` for None."""
    if pair is None:
        return ABSENT
    if not all(map(is_number, pair)):
        return UNDEFINED
    return f"{percent(pair[0], digits)} to {percent(pair[1], digits)}"


def percent_bounds(pair: Sequence[float | None] | None, digits: int = 4) -> str:
    """Bounds in percent, rounded outwards, so that what lies within them does so in print too."""
    if pair is None or not all(map(is_number, pair)):
        return percent_range(pair)
    unit = 10 ** (digits + 2)
    return percent_range(
        (math.floor(pair[0] * unit) / unit, math.ceil(pair[1] * unit) / unit), digits
    )


def number(value: float | None) -> str:
    """A float with six significant digits; an integer in full, digits in groups of three."""
    if not is_number(value):
        return UNDEFINED
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def describe_metric(metric: str) -> MetricDescription:
    """Title and meaning of a metric; an unknown one keeps its name."""
    if match := re.fullmatch(r"fpr(\d+(\.\d+)?)", metric):
        rate = match[1]
        meaning = f"share of known pixels flagged where {rate} % of the anomalous ones are"
        return MetricDescription(f"FPR{rate}", False, meaning)
    return _METRICS.get(metric, MetricDescription(metric, None, "-"))


def metric_title(metric: str) -> str:
    """Short title of a metric."""
    return describe_metric(metric).title


def metric_heading(metric: str) -> str:
    """Title of a metric with an arrow in the direction of better values."""
    title, more_is_better, _ = describe_metric(metric)
    return title if more_is_better is None else f"{title} {'↑' if more_is_better else '↓'}"
