"""The one table of a benchmark: a row a score, three columns a data set, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood_seg.reports.tables import Table
from ood_seg.reports.wording import heading_of, is_number, percent

METRICS = ("auroc", "ap", "fpr95")
_TIME, _MEMORY = "ms/image", "MiB"


def benchmark_table(content: Mapping[str, Any]) -> Table:
    """AUROC, AP and FPR95 in percent on each data set, with what each score costs.

    Args:
        content: of `benchmark.json`.
    """
    sets = content["sets"]
    header = ["score"]
    for name in sets:
        header += [f"{name} {heading_of(metric)}" for metric in METRICS]
    rows = [_row(name, content) for name in content["scores"]]
    return Table(
        f"{content['title']}: pixel metrics in percent",
        (*header, _TIME, _MEMORY),
        rows,
        note=_note(content),
        best=frozenset(_best(content)),
    )


def not_scored(content: Mapping[str, Any]) -> list[str]:
    """What `benchmark.json` says of failures: `NAME, NAME: REASON`, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in content["failures"].items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(those)}: {reason}" for reason, those in names.items()]


def _row(name: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    results = [one["scores"].get(name) for one in content["sets"].values()]
    cells = [
        percent(result["metrics"][metric]["value"]) if result else "-"
        for result in results
        for metric in METRICS
    ]
    found = [result for result in results if result]
    seconds = [one["seconds_per_image"] for one in found if is_number(one["seconds_per_image"])]
    memory = [one["memory"] for one in found if is_number(one["memory"])]
    return (
        name,
        *cells,
        f"{1000 * sum(seconds) / len(seconds):.0f}" if seconds else "-",
        f"{max(memory) / 2**20:.0f}" if memory else "-",
    )


def _best(content: Mapping[str, Any]):
    """Cells whose number, as printed, no other score betters."""
    for index, one in enumerate(content["sets"].values()):
        for offset, metric in enumerate(METRICS):
            values = {
                row: round(one["scores"][name]["metrics"][metric]["value"], 4)
                for row, name in enumerate(content["scores"])
                if name in one["scores"]
                and is_number(one["scores"][name]["metrics"][metric]["value"])
            }
            if len(values) > 1:
                best = (min if metric.startswith("fpr") else max)(values.values())
                column = 1 + index * len(METRICS) + offset
                yield from ((row, column) for row, value in values.items() if value == best)


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
            f" {_TIME} and {_MEMORY} are a score's own, the mean over the sets and the largest, "
            f"beside {forward:.0f} ms for the forward pass and {logits:.0f} ms for the logits at "
            "the image's size, which all scores share that do not run the network themselves."
        )
    return text
