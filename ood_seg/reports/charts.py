"""The charts of a report: SVG made from evaluations, with legends as HTML lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from ood_seg.metrics.formatting import (
    is_number,
    metric_heading,
    metric_title,
    number,
    percent,
    percent_range,
)
from ood_seg.reports import svg
from ood_seg.reports.wording import Evaluations, has_interval, level, metric_names

# Line styles in the style sheet; further methods repeat them.
STYLES = 6
_LOWEST_FPR = 1e-5
_LOWEST_SHARE = 1e-7


class Figure(NamedTuple):
    """A chart with its title, and `(css class of the swatch, text)` for each line."""

    title: str
    chart: str
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""


def style(index: int) -> str:
    """CSS class of the line of a method."""
    return f"s{index % STYLES}"


def curve_points(evaluation: Mapping[str, Any]) -> dict[str, tuple[float, float, str]]:
    """Where the curves cross the FPR95 and best-F1 points: `roc` and `pr`, with a text."""
    found = {}
    roc, pr = (evaluation["curves"][name] for name in ("roc", "pr"))
    corner = next((k for k, tpr in enumerate(roc["tpr"]) if tpr >= 0.95), None)
    if corner is not None:
        fpr, tpr = roc["fpr"][corner], roc["tpr"][corner]
        text = f"{percent(fpr)} % of known pixels flagged at TPR {percent(tpr)} %"
        found["roc"] = (fpr, tpr, text)
    f1 = [
        2 * p * r / (p + r) if p + r else 0.0
        for p, r in zip(pr["precision"], pr["recall"], strict=True)
    ]
    if f1:
        corner = f1.index(max(f1))
        recall, precision = pr["recall"][corner], pr["precision"][corner]
        text = (
            f"best F1 {percent(f1[corner])} %: precision {percent(precision)} %, "
            f"recall {percent(recall)} %"
        )
        found["pr"] = (recall, precision, text)
    return found


def precision_recall(evaluations: Evaluations) -> Figure | None:
    """Precision over recall; None where no method has a curve."""
    curves = [one["curves"]["pr"]["precision"] for one in evaluations.values()]
    highest = max((precision for curve in curves for precision in curve), default=1.0)
    plot = svg.Plot(svg.percent_axis("recall (%)"), svg.percent_axis("precision (%)", highest))
    drawn, legend, said = [], [], []
    for index, (label, one) in enumerate(evaluations.items()):
        curve = one["curves"]["pr"]
        if not curve["recall"]:
            continue
        share = one["pixels"]["anomalous"] / max(
            one["pixels"]["known"] + one["pixels"]["anomalous"], 1
        )
        if not drawn:
            drawn.append(svg.line(plot, [0, 1], [share, share], "chance"))
        drawn.append(svg.line(plot, curve["recall"], curve["precision"], f"line {style(index)}"))
        recall, precision, text = curve_points(one)["pr"]
        css = f"mark {style(index)}"
        drawn.append(svg.marker(plot, recall, precision, css, f"{label}, {text}", shape="diamond"))
        legend.append((style(index), _with_value(label, one, "ap")))
        said.append(f"{label}: {text}" if len(evaluations) > 1 else text)
    if not drawn:
        return None
    legend += [("diamond", "best F1"), ("chance", f"chance, {percent(share)} %")]
    chart = svg.chart(plot, drawn, description=f"Precision over recall. {'. '.join(said)}.")
    return Figure("Precision and recall", chart, legend, "; ".join(said) + ".")


def roc(evaluations: Evaluations, *, log: bool = False) -> Figure | None:
    """True-positive over false-positive rate; None where no method has a curve."""
    curves = [one["curves"]["roc"]["fpr"] for one in evaluations.values()]
    smallest = min((fpr for curve in curves for fpr in curve if fpr > 0), default=0.1)
    x = svg.percent_axis("false-positive rate (%)")
    if log:
        lowest = min(max(smallest, _LOWEST_FPR), 0.1)
        x = svg.log_percent_axis("false-positive rate (%), logarithmic", lowest)
    plot = svg.Plot(x, svg.percent_axis("true-positive rate (%)"))
    diagonal = [10 ** (k / 20) for k in range(-20 * 8, 1)]
    drawn, legend, said = [], [], []
    for index, (label, one) in enumerate(evaluations.items()):
        curve = one["curves"]["roc"]
        if not curve["fpr"]:
            continue
        drawn.append(svg.line(plot, curve["fpr"], curve["tpr"], f"line {style(index)}"))
        legend.append((style(index), _with_value(label, one, "auroc")))
        if "roc" in curve_points(one):
            fpr, tpr, text = curve_points(one)["roc"]
            css = f"mark {style(index)}"
            drawn.append(svg.marker(plot, fpr, tpr, css, f"{label}, {text}"))
            said.append(f"{label}: {text}" if len(evaluations) > 1 else text)
    if not drawn:
        return None
    kept = [fpr for fpr in diagonal if fpr >= plot.x.low] if log else [0, 1]
    drawn.insert(0, svg.line(plot, kept, kept, "chance"))
    legend += [("circle", "FPR95"), ("chance", "chance")]
    description = f"True-positive over false-positive rate. {'. '.join(said)}."
    return Figure(
        "ROC", svg.chart(plot, drawn, description=description), legend, "; ".join(said) + "."
    )


def _with_value(label: str, evaluation: Mapping[str, Any], metric: str) -> str:
    entry = evaluation["metrics"].get(metric)
    return f"{label}, {metric_title(metric)} {percent(entry['value'])} %" if entry else label


def histogram(evaluation: Mapping[str, Any]) -> Figure | None:
    """Shares of known and of anomalous pixels in bins of equal width; None without pixels."""
    bins = evaluation.get("histogram") or {"edges": []}
    edges = bins["edges"]
    if len(edges) < 2 or not (sum(bins["known"]) or sum(bins["anomalous"])):
        return None
    heights = {}
    for kind in ("known", "anomalous"):
        total = sum(bins[kind])
        if total:
            heights[kind] = [count / total for count in bins[kind]]
    positive = [height for part in heights.values() for height in part if height > 0]
    y = svg.log_percent_axis(
        "share of its pixels (%), logarithmic", max(min(positive), _LOWEST_SHARE), max(positive)
    )
    plot = svg.Plot(svg.linear_axis("anomaly score", edges[0], edges[-1]), y, left=72)
    drawn, legend = [], []
    for kind, part in heights.items():
        drawn.append(svg.steps(plot, edges, part, f"area {kind}"))
        legend.append((kind, f"{kind} pixels"))
    threshold = evaluation.get("best_f1_threshold")
    if is_number(threshold) and edges[0] <= threshold <= edges[-1]:
        drawn.append(svg.vertical(plot, threshold, "threshold", f"threshold {threshold:.6g}"))
        legend.append(("threshold", f"threshold of the best F1, {number(float(threshold))}"))
    note = "The first and the last bin hold all scores beyond as well."
    description = (
        "Histogram of anomaly scores of known and of anomalous pixels, from "
        f"{edges[0]:.4g} to {edges[-1]:.4g}."
    )
    return Figure("Pixels by score", svg.chart(plot, drawn, description=description), legend, note)


def reliability(evaluation: Mapping[str, Any]) -> Figure | None:
    """Observed frequency over predicted probability; None without a calibration."""
    diagram = (evaluation.get("calibration") or {}).get("reliability")
    if not diagram or not diagram["confidence"]:
        return None
    highest = max(*diagram["confidence"], *diagram["frequency"])
    x = svg.percent_axis("predicted anomaly probability (%)", highest)
    plot = svg.Plot(x, svg.percent_axis("observed frequency (%)", highest))
    points = list(zip(*(diagram[k] for k in ("confidence", "frequency", "weight")), strict=True))
    drawn = [
        svg.line(plot, [0, 1], [0, 1], "chance"),
        svg.line(plot, diagram["confidence"], diagram["frequency"], "line s0"),
    ]
    for confidence, frequency, weight in points:
        text = (
            f"predicted {percent(confidence)} %, observed {percent(frequency)} %, "
            f"{percent(weight, 4)} % of the pixels"
        )
        drawn.append(svg.marker(plot, confidence, frequency, "mark s0", text))
    worst = max(points, key=lambda point: abs(point[1] - point[0]))
    heaviest = max(points, key=lambda point: point[2])
    note = (
        f"{percent(heaviest[2])} % of the pixels lie in the bin at {percent(heaviest[0])} %; the "
        f"largest gap is at {percent(worst[0])} %, where {percent(worst[1])} % are anomalous."
    )
    legend = [("s0", "calibrated probability"), ("chance", "perfect calibration")]
    description = f"Reliability diagram with {len(points)} bins. {note}"
    return Figure("Reliability", svg.chart(plot, drawn, description=description), legend, note)


def component_f1(evaluations: Evaluations) -> Figure | None:
    """F1 of components over the sIoU threshold; None where no method has any."""
    lines = {}
    for index, (label, one) in enumerate(evaluations.items()):
        rows = (one.get("components") or {}).get("by_threshold") or []
        rows = [row for row in rows if is_number(row["f1"])]
        if len(rows) > 1:
            lines[index] = label, [row["threshold"] for row in rows], [row["f1"] for row in rows]
    if not lines:
        return None
    low = min(min(thresholds) for _, thresholds, _ in lines.values())
    high = max(max(thresholds) for _, thresholds, _ in lines.values())
    x = svg.linear_axis("sIoU threshold", low, high)
    highest = max(max(f1) for *_, f1 in lines.values())
    plot = svg.Plot(x, svg.percent_axis("F1 of components (%)", highest))
    drawn = [svg.line(plot, x, y, f"line {style(k)}") for k, (_, x, y) in lines.items()]
    legend = [(style(k), label) for k, (label, *_) in lines.items()]
    said = ", ".join(
        f"{label} {percent(f1[0])} to {percent(f1[-1])} %" for label, _, f1 in lines.values()
    )
    description = f"F1 of components over the sIoU threshold: {said}."
    return Figure("F1 of components", svg.chart(plot, drawn, description=description), legend)


def intervals(evaluations: Evaluations) -> Figure | None:
    """Value and confidence interval of each metric as point and bar; None without intervals."""
    rows = [
        (name, index, label, one["metrics"][name])
        for name in metric_names(evaluations)
        for index, (label, one) in enumerate(evaluations.items())
        if has_interval(one["metrics"].get(name, {})) and is_number(one["metrics"][name]["value"])
    ]
    if not rows:
        return None
    # Methods of one metric stand closer together than metrics.
    names = list(dict.fromkeys(row[0] for row in rows))
    places = [place + 0.6 * names.index(row[0]) + 0.5 for place, row in enumerate(rows)]
    size = places[-1] + 0.5
    y = svg.Axis("", 0, size, ())
    plot = svg.Plot(svg.percent_axis("%"), y, height=round(62 + 22 * size), left=92)
    drawn = []
    for name in names:
        heights = [size - p for p, row in zip(places, rows, strict=True) if row[0] == name]
        middle = float(plot.rows(sum(heights) / len(heights)))
        drawn.append(svg.label(plot.left - 10, middle + 4, metric_heading(name), anchor="end"))
    for place, (name, index, label, entry) in zip(places, rows, strict=True):
        height = size - place
        drawn.append(svg.line(plot, entry["interval"], [height, height], f"bar {style(index)}"))
        text = f"{label}, {metric_title(name)} {percent(entry['value'])} %, "
        text += percent_range(entry["interval"])
        drawn.append(svg.marker(plot, entry["value"], height, f"mark {style(index)}", text))
    levels = " and ".join(sorted({level(one) for one in evaluations.values() if one["interval"]}))
    legend = [(style(k), label) for k, label in enumerate(evaluations)]
    chart = svg.chart(plot, drawn, description=f"Metrics with {levels} intervals, as in the table.")
    return Figure(f"{levels} intervals", chart, legend if len(evaluations) > 1 else ())


def figure_html(figure: Figure, css: str = "") -> str:
    """A chart with title, legend and note."""
    items = "".join(
        f'<li><svg class="swatch" viewBox="0 0 26 12" aria-hidden="true">{_swatch(css_class)}</svg>'
        f"{escape(text)}</li>"
        for css_class, text in figure.legend
    )
    legend = f'<ul class="legend">{items}</ul>' if items else ""
    return (
        f'<figure class="plot {css}"><figcaption>{escape(figure.title)}</figcaption>'
        f"{figure.chart}{legend}{note_html(figure.note)}</figure>"
    )


def note_html(note: str) -> str:
    """A sentence below a chart or table, with numbers kept together with their sign."""
    text = escape(note).replace(" %", "&nbsp;%")
    return f'<p class="note">{text}</p>' if note else ""


def _swatch(css_class: str) -> str:
    if css_class == "diamond":
        return '<polygon class="mark" points="13,0 19,6 13,12 7,6"/>'
    if css_class == "circle":
        return '<circle class="mark" cx="13" cy="6" r="5"/>'
    if css_class in ("known", "anomalous"):
        return f'<rect class="area {css_class}" x="2" y="1" width="22" height="10"/>'
    css = css_class if css_class in ("chance", "threshold") else f"line {css_class}"
    return f'<line class="{css}" x1="1" x2="25" y1="6" y2="6"/>'
