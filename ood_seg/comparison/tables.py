"""The table of a benchmark: one row per score, three columns per dataset, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ood_seg.metrics.formatting import (
    ABSENT,
    describe_metric,
    is_number,
    metric_heading,
    percent,
)
from ood_seg.reports.tables import Table, best_rows, print_table

METRICS = ("auroc", "ap", "fpr95")
_TIME, _MEMORY = "ms/image", "MiB"
_FILES = "benchmark.json, benchmark.md, benchmark.csv, benchmark.tex, benchmark.png"


def benchmark_table(content: Mapping[str, Any]) -> Table:
    """AUROC, AP and FPR95 in percent on each dataset, with what each score costs.

    Args:
        content: of `benchmark.json`.
    """
    sets = content["sets"]
    # The dataset above its metric.
    titles = [f"{name}\n{metric_heading(metric)}" for name in sets for metric in METRICS]
    return Table(
        f"{content['title']}: {content.get('unit', 'pixel')} metrics in percent",
        ("score", *titles, _TIME, _MEMORY),
        [_row(name, content) for name in content["scores"]],
        note=_note(content),
        best=frozenset(_best(content)),
    )


def not_scored(content: Mapping[str, Any]) -> list[str]:
    """The failures in `benchmark.json` as `NAME, NAME: REASON`, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in content["failures"].items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(those)}: {reason}" for reason, those in names.items()]


def print_benchmark(content: Mapping[str, Any], folder: Path) -> None:
    """Print the table, failures and notes, and where the files are that `write_benchmark` wrote."""
    lines = [f"not scored: {text}" for text in not_scored(content)]
    lines += [f"note: {note}" for one in content["sets"].values() for note in one["notes"]]
    print_table(benchmark_table(content), *lines, f"written to {folder}: {_FILES}")


def _row(name: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    results = [one["scores"].get(name) for one in content["sets"].values()]
    cells = [
        percent(result["metrics"][metric]["value"]) if result else ABSENT
        for result in results
        for metric in METRICS
    ]
    found = [result for result in results if result]
    seconds = [one["seconds_per_image"] for one in found if is_number(one["seconds_per_image"])]
    memory = [one["memory"] for one in found if is_number(one["memory"])]
    return (
        name,
        *cells,
        f"{1000 * sum(seconds) / len(seconds):.0f}" if seconds else ABSENT,
        f"{max(memory) / 2**20:.0f}" if memory else ABSENT,
    )


def _best(content: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Cells whose value no other score betters."""
    columns = [(one["scores"], metric) for one in content["sets"].values() for metric in METRICS]
    best = set()
    for column, (scores, metric) in enumerate(columns, start=1):
        values = [
            scores[n]["metrics"][metric]["value"] if n in scores else None
            for n in content["scores"]
        ]
        more_is_better = bool(describe_metric(metric).more_is_better)
        best |= {(row, column) for row in best_rows(values, more_is_better=more_is_better)}
    return best


def _note(content: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{one['images']} images of {name}" for name, one in content["sets"].items())
    text = f"{counts}; protocol {content['protocol']['name']}, mode {content['mode']}."
    shared = [one["shared"] for one in content["sets"].values() if one["shared"]]
    shared = [one for one in shared if one["images"]]
    if shared:
        forward, logits = (
            1000 * sum(one[what] for one in shared) / sum(one["images"] for one in shared)
            for what in ("forward", "logits")
        )
        text += (
            f" {_TIME} (mean over the datasets) and {_MEMORY} (maximum) are those of a score "
            f"alone. Scores that do not run the network themselves share {forward:.0f} ms for the "
            f"forward pass and {logits:.0f} ms for the logits at the image's size."
        )
    return text
