"""Tables of `ood-seg test` and `choose-checkpoint`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood_seg.metrics.formatting import ABSENT, metric_title
from ood_seg.reports.tables import Table

Rows = Mapping[str, Mapping[str, float]]


def results_table(rows: Rows) -> Table:
    """Return the metrics in percent, one test set per row."""
    titles = metric_titles(rows)
    cells = [
        (name, *(f"{row[key]:.2f}" if key in row else ABSENT for key in titles))
        for name, row in rows.items()
    ]
    return Table("Results (%)", ("set", *titles.values()), cells)


def metric_titles(rows: Rows) -> dict[str, str]:
    """Return the metrics of all rows in order of appearance, with their titles.

    A title is the last part of the name, unless two metrics share it.
    """
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    last = [metric.rpartition("/")[2] for metric in metrics]
    return {
        metric: metric_title(short) if last.count(short) == 1 else metric
        for metric, short in zip(metrics, last, strict=True)
    }


def protocol_lines(content: Mapping[str, Any]) -> list[str]:
    """Return protocol and mode of the anomaly metrics in `metrics.json`, each pair once."""
    found = {
        f"protocol {one['protocol']}" + (f"; mode {one['mode']}" if one["mode"] else "")
        for one in content["sets"].values()
        if one["protocol"]
    }
    return sorted(found)


def candidates_table(content: Mapping[str, Any]) -> Table:
    """Return the metric of each candidate in `selection.json`."""
    title = f"{content['metric']} on {', '.join(content['select_on'])}"
    rows = [
        (
            one["checkpoint"],
            f"{one['value']:.2f}",
            "chosen" if one["checkpoint"] == content["chosen"] else "",
        )
        for one in content["candidates"]
    ]
    return Table("Candidates", ("checkpoint", title, ""), rows, text_columns=("",))


def epsilons_table(content: Mapping[str, Any]) -> Table:
    """Return the mean confidence at each candidate in `epsilon.json`."""
    rows = [
        (epsilon, f"{value:.6g}", "chosen" if float(epsilon) == content["epsilon"] else "")
        for epsilon, value in content["confidences"].items()
    ]
    title = f"Epsilon of {content['score']}, {content['images']} known images"
    return Table(title, ("epsilon", "mean confidence", ""), rows, text_columns=("",))
