"""The charts of a report, made from evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ood_seg.metrics.formatting import (
    is_number,
    metric_heading,
    metric_title,
    number,
    percent,
    percent_range,
)
from ood_seg.reports.chart import (
    CHANCE,
    COLOURS,
    Chart,
    LegendEntry,
    LineStyle,
    Plot,
    log_percent_axis,
    method_style,
    percent_axis,
)
from ood_seg.reports.evaluations import (
    Evaluations,
    has_interval,
    interval_levels,
    metric_names,
    share_of_anomalies,
    unit,
)
from ood_seg.reports.svg import set_title

_LOWEST_FPR = 1e-5
_LOWEST_SHARE = 1e-7


def precision_recall(evaluations: Evaluations) -> Chart | None:
    """Precision over recall and the point of the best F1; None where no method has a curve."""
    curves = [one["curves"]["pr"] for one in evaluations.values() if one["curves"]["pr"]["recall"]]
    if not curves:
        return None
    plot = Plot("recall (%)", "precision (%)")
    percent_axis(plot.axes.xaxis)
    percent_axis(plot.axes.yaxis, max(max(curve["precision"]) for curve in curves))
    texts = {}
    for index, (label, one) in enumerate(evaluations.items()):
        curve, style = one["curves"]["pr"], method_style(index)
        if curve["recall"]:
            plot.line(curve["recall"], curve["precision"], style, _with_value(label, one, "ap"))
            recall, precision, texts[label] = best_f1_point(one)
            text = f"{label}, {texts[label]}"
            plot.marker(recall, precision, style.colour, text, diamond=True)
    share = share_of_anomalies(next(iter(evaluations.values())))
    plot.legend.append(LegendEntry("diamond", LineStyle("muted"), "best F1"))
    plot.line([0, 1], [share, share], CHANCE, f"chance, {percent(share)} %", width=1.5)
    return plot.chart("Precision and recall", _joined(texts))


def best_f1_point(evaluation: Mapping[str, Any]) -> tuple[float, float, str]:
    """The point of the precision-recall curve with the best F1: recall, precision, in words."""
    curve = evaluation["curves"]["pr"]
    points = zip(curve["precision"], curve["recall"], strict=True)
    f1, recall, precision = max(
        ((2 * p * r / (p + r) if p + r else 0.0, r, p) for p, r in points), key=lambda one: one[0]
    )
    text = f"best F1 {percent(f1)} %: precision {percent(precision)} %, recall {percent(recall)} %"
    return recall, precision, text


def roc(evaluations: Evaluations, *, log: bool = False) -> Chart | None:
    """True-positive over false-positive rate and the FPR95; None where no method has a curve."""
    curves = [one["curves"]["roc"] for one in evaluations.values() if one["curves"]["roc"]["fpr"]]
    if not curves:
        return None
    plot = Plot("false-positive rate (%)" + ", logarithmic" * log, "true-positive rate (%)")
    lowest = 0.0
    if log:
        smallest = min((fpr for curve in curves for fpr in curve["fpr"] if fpr > 0), default=0.1)
        lowest = log_percent_axis(plot.axes.xaxis, min(max(smallest, _LOWEST_FPR), 0.1))
    else:
        percent_axis(plot.axes.xaxis)
    percent_axis(plot.axes.yaxis)
    texts = {}
    for index, (label, one) in enumerate(evaluations.items()):
        curve, style = one["curves"]["roc"], method_style(index)
        if curve["fpr"]:
            text = _with_value(label, one, "auroc")
            plot.line(np.maximum(curve["fpr"], lowest), curve["tpr"], style, text)
        if point := fpr95_point(one, unit(evaluations)):
            fpr, tpr, texts[label] = point
            plot.marker(max(fpr, lowest), tpr, style.colour, f"{label}, {texts[label]}")
    diagonal = np.geomspace(lowest, 1, 161) if log else [0, 1]
    plot.legend.append(LegendEntry("circle", LineStyle("muted"), "FPR95"))
    plot.line(diagonal, diagonal, CHANCE, "chance", width=1.5)
    return plot.chart("ROC", _joined(texts))


def fpr95_point(
    evaluation: Mapping[str, Any], unit: str = "pixel"
) -> tuple[float, float, str] | None:
    """The first point of the ROC curve whose TPR is at least 95 %: FPR, TPR, in words."""
    curve = evaluation["curves"]["roc"]
    for fpr, tpr in zip(curve["fpr"], curve["tpr"], strict=True):
        if tpr >= 0.95:
            return fpr, tpr, f"{percent(fpr)} % of known {unit}s flagged at TPR {percent(tpr)} %"
    return None


def _with_value(label: str, evaluation: Mapping[str, Any], metric: str) -> str:
    entry = evaluation["metrics"].get(metric)
    return f"{label}, {metric_title(metric)} {percent(entry['value'])} %" if entry else label


def _joined(texts: Mapping[str, str]) -> str:
    """The texts of all methods, with their labels where there are several."""
    several = len(texts) > 1
    return "; ".join(f"{k}: {text}" if several else text for k, text in texts.items()) + "."


def histogram(evaluation: Mapping[str, Any]) -> Chart | None:
    """Shares of known and of anomalous pixels in bins of equal width; None without pixels."""
    counted = f"{evaluation.get('unit', 'pixel')}s"
    bins = evaluation.get("histogram") or {"edges": []}
    edges = bins["edges"]
    totals = {kind: sum(bins[kind]) for kind in ("known", "anomalous") if len(edges) > 1}
    shares = {kind: np.divide(bins[kind], total) for kind, total in totals.items() if total}
    if not shares:
        return None
    plot = Plot("anomaly score", f"share of its {counted} (%), logarithmic", left=72)
    axes = plot.axes
    positive = np.concatenate([part[part > 0] for part in shares.values()])
    lowest = log_percent_axis(axes.yaxis, max(positive.min(), _LOWEST_SHARE), positive.max())
    for kind, part in shares.items():
        style = LineStyle("c0" if kind == "known" else "c1")
        options: dict[str, Any] = {
            "baseline": lowest,
            "color": COLOURS[style.colour],
            "clip_on": False,
        }
        heights = np.maximum(part, lowest)
        axes.stairs(heights, edges, fill=True, alpha=0.3, **options)
        axes.stairs(heights, edges, linewidth=1.5, **options)
        plot.legend.append(LegendEntry("area", style, f"{kind} {counted}"))
    axes.set_xlim(edges[0], edges[-1])
    threshold = evaluation.get("best_f1_threshold")
    if is_number(threshold) and edges[0] <= threshold <= edges[-1]:
        text = f"threshold of the best F1, {number(float(threshold))}"
        plot.line([threshold] * 2, axes.get_ylim(), LineStyle("ink", (6, 3)), text, width=1.5)
        set_title(axes.lines[-1], text)
    note = (
        f"From {edges[0]:.4g} to {edges[-1]:.4g}; the outer bins also hold all scores beyond them."
    )
    return plot.chart(f"{counted.capitalize()} by score", note)


def reliability(evaluation: Mapping[str, Any]) -> Chart | None:
    """Observed frequency over predicted probability; None without a calibration."""
    diagram = (evaluation.get("calibration") or {}).get("reliability")
    if not diagram or not diagram["confidence"]:
        return None
    plot = Plot("predicted anomaly probability (%)", "observed frequency (%)")
    highest = max(*diagram["confidence"], *diagram["frequency"])
    end = max(percent_axis(axis, highest) for axis in (plot.axes.xaxis, plot.axes.yaxis))
    style = LineStyle("c0")
    plot.line(diagram["confidence"], diagram["frequency"], style, "calibrated probability")
    plot.line([0, end], [0, end], CHANCE, "perfect calibration", width=1.5)
    points = list(zip(*(diagram[k] for k in ("confidence", "frequency", "weight")), strict=True))
    for confidence, frequency, weight in points:
        text = (
            f"predicted {percent(confidence)} %, observed {percent(frequency)} %, "
            f"{percent(weight, 4)} % of the pixels"
        )
        plot.marker(confidence, frequency, style.colour, text)
    worst = max(points, key=lambda point: abs(point[1] - point[0]))
    heaviest = max(points, key=lambda point: point[2])
    note = (
        f"{percent(heaviest[2])} % of the pixels lie in the bin at {percent(heaviest[0])} %; the "
        f"largest gap is at {percent(worst[0])} %, where {percent(worst[1])} % are anomalous."
    )
    return plot.chart("Reliability", note)


def component_f1(evaluations: Evaluations) -> Chart | None:
    """F1 of components over the sIoU threshold; None where no method has any."""
    plot = Plot("sIoU threshold", "F1 of components (%)")
    curves = {}
    for index, (label, one) in enumerate(evaluations.items()):
        rows = (one.get("components") or {}).get("by_threshold") or []
        points = [(row["threshold"], row["f1"]) for row in rows if is_number(row["f1"])]
        if len(points) > 1:
            thresholds, curves[label] = zip(*points, strict=True)
            plot.line(thresholds, curves[label], method_style(index), label)
    if not curves:
        return None
    plot.axes.autoscale(axis="x", tight=True)
    percent_axis(plot.axes.yaxis, max(map(max, curves.values())))
    ends = (f"{label} {percent(f1[0])} to {percent(f1[-1])} %" for label, f1 in curves.items())
    note = f"From the lowest to the highest threshold: {'; '.join(ends)}."
    return plot.chart("F1 of components", note)


def intervals(evaluations: Evaluations) -> Chart | None:
    """Value and confidence interval of each metric as point and bar; None without intervals."""
    rows = [
        (name, index, label, one["metrics"][name])
        for name in metric_names(evaluations)
        for index, (label, one) in enumerate(evaluations.items())
        if has_interval(one["metrics"].get(name, {})) and is_number(one["metrics"][name]["value"])
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row[0] for row in rows))
    # One row per method; the gap between metrics is wider than that between methods.
    step = len(evaluations) + 0.6
    size = step * len(names) - 0.6
    plot = Plot("%", "", height=round(62 + 22 * size), left=92)
    percent_axis(plot.axes.xaxis)
    middles = [k * step + (len(evaluations) - 1) / 2 for k in range(len(names))]
    plot.axes.set(ylim=(size - 0.5, -0.5), yticks=middles)
    plot.axes.set_yticklabels(map(metric_heading, names))
    plot.axes.grid(visible=False, axis="y")
    plot.axes.spines["left"].set_visible(False)
    for name, index, label, entry in rows:
        height, colour = names.index(name) * step + index, method_style(index).colour
        low, high = entry["interval"]
        bar: dict[str, Any] = {"color": COLOURS[colour], "alpha": 0.35, "clip_on": False}
        plot.axes.barh(height, high - low, left=low, height=0.5, **bar)
        text = f"{label}, {metric_title(name)} {percent(entry['value'])} %, "
        plot.marker(entry["value"], height, colour, text + percent_range(entry["interval"]))
    if len(evaluations) > 1:
        for index, label in enumerate(evaluations):
            style = LineStyle(method_style(index).colour)
            plot.legend.append(LegendEntry("circle", style, label))
    return plot.chart(f"{interval_levels(evaluations)} intervals")
