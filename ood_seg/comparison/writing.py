"""Writes a benchmark: JSON, one table in three formats, and one figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ood_seg.comparison.figures import curves_figure
from ood_seg.comparison.tables import benchmark_table, not_scored
from ood_seg.io.files import write_text
from ood_seg.io.json_files import finite
from ood_seg.reports.tables import Table
from ood_seg.visualization import save_figure

SCHEMA = "ood_seg.benchmark/1"
_NAME = "benchmark"


def write_benchmark(content: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write `benchmark.json`, `.md`, `.csv`, `.tex` and `.png`, each atomically.

    Args:
        content: of `benchmark.json`; NaN and infinity become null there.
        folder: created if it does not exist.

    Returns:
        The files.
    """
    path = Path(folder) / _NAME
    table = benchmark_table(content)
    failures = [f"- {text}" for text in not_scored(content)]
    left_out = ["Not scored:", "", *failures, ""] if failures else []
    texts = {
        ".json": json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        ".md": "\n".join([table.to_markdown(), *left_out]),
        ".csv": _csv_table(content).to_csv(),
        ".tex": table.to_latex(),
    }
    written = [write_text(path.with_suffix(end), text) for end, text in texts.items()]
    return [*written, save_figure(curves_figure(content), path.with_suffix(".png"))]


def _csv_table(content: Mapping[str, Any]) -> Table:
    """One row per dataset, score and metric: fractions of 1 in full precision."""
    header = ["data_set", "score", "protocol", "metric", "value", "bound_low", "bound_high"]
    header += ["images", "seconds_per_image", "memory", "seed", "commit"]
    rows = []
    for data_set, one in content["sets"].items():
        for name, result in one["scores"].items():
            costs = [result[key] for key in ("images", "seconds_per_image", "memory")]
            for metric, entry in result["metrics"].items():
                numbers = [entry["value"], *(entry["bounds"] or ("", ""))]
                row = [data_set, name, content["protocol"]["name"], metric, *numbers]
                row += costs
                rows.append([*row, content["seed"], content["commit"]])
    return Table("benchmark", header, rows)
