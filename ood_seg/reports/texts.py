"""Reports as plain text: Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ood_seg.io.json_files import finite
from ood_seg.reports import facts, part_tables
from ood_seg.reports.evaluations import Evaluations, unit
from ood_seg.reports.metric_tables import images_table, methods_table, metrics_table
from ood_seg.reports.tables import Table, plain_markdown


def markdown(evaluations: Evaluations) -> str:
    """Facts and all tables."""
    lines = [f"# {plain_markdown(facts.title(evaluations))}", ""]
    lines += [f"- {term}: {plain_markdown(text)}" for term, text in facts.facts(evaluations)]
    lines += [f"\n> {plain_markdown(text)}" for text in facts.notices(evaluations)]
    tables = [
        metrics_table(evaluations),
        *part_tables.comparison_tables(evaluations),
        *part_tables.component_tables(evaluations),
        *part_tables.calibration_tables(evaluations),
        part_tables.closed_set_table(evaluations),
        images_table(evaluations),
    ]
    return "\n".join([*lines, "", "\n".join(table.to_markdown() for table in tables if table)])


def latex(evaluations: Evaluations) -> str:
    """A table for a paper, one row per method: percent with intervals; needs booktabs."""
    first = next(iter(evaluations.values()))
    dataset, protocol = first["data_set"], first["protocol"]["name"]
    subject = (
        f"{unit(evaluations).capitalize()} metrics on {dataset} in percent, protocol {protocol}"
    )
    return methods_table(evaluations, subject=subject).to_latex()


def metrics_csv(evaluations: Evaluations) -> str:
    """One row per method and metric: fractions of 1 in full precision, `nan` where undefined."""
    header = ["data_set", "method", "protocol", "metric", "value"]
    header += ["bound_low", "bound_high", "interval_low", "interval_high", "interval_level"]
    rows = []
    for label, one in evaluations.items():
        level = (one.get("interval") or {}).get("level")
        for name, entry in one["metrics"].items():
            ranges = [entry.get(kind) or ("", "") for kind in ("bounds", "interval")]
            numbers = map(_nan_if_none, (entry["value"], *ranges[0], *ranges[1]))
            rows.append([one["data_set"], label, one["protocol"]["name"], name, *numbers, level])
    return Table("metrics", header, rows).to_csv()


def images_csv(evaluations: Evaluations) -> str:
    """One row per method and image, in the order of the evaluation."""
    numbers = ("known", "anomalous", "ignored", "auroc", "ap", "fpr95")
    files = ("scores", "ground_truth", "image")
    rows = [
        [
            label,
            image["name"],
            *(_nan_if_none(image.get(key)) for key in numbers),
            *(image.get(key) for key in files),
        ]
        for label, one in evaluations.items()
        for image in one.get("images") or []
    ]
    return Table("images", ("method", "name", *numbers, *files), rows).to_csv()


def _nan_if_none(value: float | str | None) -> float | str:
    return "nan" if value is None else value


def json_text(contents: Sequence[Mapping[str, Any]]) -> str:
    """The evaluation itself, or a list of them; NaN and infinity become null."""
    found = [finite(one) for one in contents]
    shown = found[0] if len(found) == 1 else found
    return json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
