"""Reports as plain text: Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ood_seg.io.json_files import finite
from ood_seg.reports import facts, part_tables, tables, wording
from ood_seg.reports.tables import Table
from ood_seg.reports.wording import Evaluations

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    # A bracket after the end of a row would be its optional argument.
    "[": "{[}",
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def markdown(evaluations: Evaluations) -> str:
    """Facts and all tables."""
    lines = [f"# {_plain(facts.title(evaluations))}", ""]
    lines += [f"- {term}: {_plain(text)}" for term, text in facts.facts(evaluations)]
    lines += [f"\n> {_plain(text)}" for text in facts.notices(evaluations)]
    shown = [
        tables.metrics_table(evaluations),
        *part_tables.comparison_tables(evaluations),
        *part_tables.component_tables(evaluations),
        *part_tables.calibration_tables(evaluations),
        part_tables.closed_set_table(evaluations),
        tables.images_table(evaluations),
    ]
    return "\n".join([*lines, *(markdown_table(table) for table in shown if table)]) + "\n"


def markdown_table(table: Table) -> str:
    """A table with its caption as heading, the best cells bold, and its note."""
    ruler = [
        "---" if k == 0 or name in table.texts else "---:" for k, name in enumerate(table.header)
    ]
    rows = [
        [f"**{text}**" if (r, k) in table.best else text for k, text in enumerate(map(_plain, row))]
        for r, row in enumerate(table.rows)
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (map(_plain, table.header), ruler, *rows)]
    note = f"\n\n{_plain(table.note)}" if table.note else ""
    return f"\n## {_plain(table.caption)}\n\n" + "\n".join(lines) + note


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))


def metrics_csv(evaluations: Evaluations) -> str:
    """One row per method and metric: fractions of 1 in full precision, `nan` where undefined."""
    header = ["data_set", "method", "protocol", "metric", "value"]
    header += ["bound_low", "bound_high", "interval_low", "interval_high", "interval_level"]
    rows = []
    for label, one in evaluations.items():
        level = (one.get("interval") or {}).get("level", "")
        for name, entry in one["metrics"].items():
            ranges = [entry.get(kind) or ("", "") for kind in ("bounds", "interval")]
            numbers = map(_csv_number, (entry["value"], *ranges[0], *ranges[1]))
            rows.append([one["data_set"], label, one["protocol"]["name"], name, *numbers, level])
    return csv_text([header, *rows])


def images_csv(evaluations: Evaluations) -> str:
    """One row per method and image, in the order of the evaluation."""
    numbers = ("known", "anomalous", "ignored", "auroc", "ap", "fpr95")
    files = ("scores", "ground_truth", "image")
    rows = [
        [
            label,
            image["name"],
            *(_csv_number(image.get(key)) for key in numbers),
            *(image.get(key) or "" for key in files),
        ]
        for label, one in evaluations.items()
        for image in one.get("images") or []
    ]
    return csv_text([["method", "name", *numbers, *files], *rows])


def _csv_number(value: float | str | None) -> float | str:
    return "nan" if value is None else value


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows of cells as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def latex(evaluations: Evaluations) -> str:
    """A table for a paper, one row per method: percent with intervals; needs booktabs."""
    names = wording.metric_names(evaluations)
    best = tables.best_cells(evaluations, names) if len(evaluations) > 1 else ()
    best = set(best)
    rows = []
    for row, (label, one) in enumerate(evaluations.items()):
        cells = [
            _latex_metric(one["metrics"].get(name), bold=(row, column) in best)
            for column, name in enumerate(names, start=1)
        ]
        rows.append(" & ".join([_latex_text(label), *cells]))
    first = next(iter(evaluations.values()))
    levels = sorted({wording.level(one) for one in evaluations.values() if one.get("interval")})
    inside = f"; in brackets {' and '.join(levels)} bootstrap intervals" if levels else ""
    caption = (
        f"Pixel metrics on {first['data_set']} in percent, protocol {first['protocol']['name']}"
        f"{inside}."
    )
    return _latex_lines(caption, ["method", *map(wording.heading_of, names)], rows)


def latex_table(table: Table) -> str:
    """A table for a paper, the best cells bold; needs booktabs."""
    rows = []
    for row, cells in enumerate(table.rows):
        texts = [
            f"\\textbf{{{_latex_text(text)}}}" if (row, column) in table.best else _latex_text(text)
            for column, text in enumerate(cells)
        ]
        rows.append(" & ".join(texts))
    return _latex_lines(table.caption, table.header, rows)


def _latex_lines(caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """The table around rows that are LaTeX already."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_latex_text(caption)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "    \\toprule",
        f"    {' & '.join(map(_latex_text, heads))} \\\\",
        "    \\midrule",
        *(f"    {row} \\\\" for row in rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_metric(entry: dict | None, *, bold: bool) -> str:
    if entry is None or not wording.is_number(entry["value"]):
        return "--"
    text = _latex_text(wording.percent(entry["value"]))
    text = f"\\textbf{{{text}}}" if bold else text
    if wording.has_interval(entry):
        low, high = (_latex_text(wording.percent(value)) for value in entry["interval"])
        text += f" {{\\scriptsize [{low}, {high}]}}"
    return text


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def json_text(evaluations: Evaluations) -> str:
    """The evaluation itself, or a list of them; NaN and infinity become null."""
    found = [finite(one) for one in evaluations.values()]
    shown = found[0] if len(found) == 1 else found
    return json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
