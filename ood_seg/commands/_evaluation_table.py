"""Prints the content of `evaluation.json` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.reports.wording import percent, percent_bounds, percent_range, title_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_evaluation(content: Mapping[str, Any], *, written: Sequence[Path] = ()) -> None:
    """One table: metrics in percent with intervals and bounds, and what they rest on."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for line in content["notes"]:
        _print_line(console, f"note: {line}")
    table = Table(title=f"{content['method']} on {content['data_set']} (%)")
    table.add_column("metric")
    table.add_column("value", justify="right")
    level = (content["interval"] or {}).get("level")
    table.add_column(f"{100 * level:g} % interval" if level else "interval", justify="right")
    table.add_column("surely within", justify="right")
    for row in _rows(content):
        table.add_row(*row)
    console.print(table)
    if content.get("comparison"):
        console.print(_comparison_table(content))
    for line in basis(content):
        _print_line(console, line)
    if written:
        names = ", ".join(path.name for path in written)
        _print_line(console, f"written to {written[0].parent}: {names}")


def basis(content: Mapping[str, Any]) -> list[str]:
    """Lines that say what the numbers rest on."""
    pixels, interval = content["pixels"], content["interval"]
    lines = [
        f"{content['num_images']} images: {pixels['known']} known, {pixels['anomalous']} "
        f"anomalous, {pixels['ignored']} ignored pixels",
        f"protocol {content['protocol']['name']}: {content['protocol']['description']}",
        f"mode {content['mode']}"
        + (": values within the bounds shown" if content["mode"] == "streaming" else ""),
    ]
    if interval:
        lines.append(f"intervals: bootstrap of {interval['samples']} resamples over images")
    calibration = content["calibration"]
    if calibration:
        lines.append(
            f"calibration ({calibration['method']}): fitted on {calibration['select_images']} "
            f"images, reported on {calibration['report_images']}"
        )
    lines.append(
        f"seed {content['seed']}, ood_seg {content['version']}, commit {content['commit'] or '-'}"
    )
    return lines


def _print_line(console: Console, text: str) -> None:
    # Whole lines can be searched for, which those broken at the width of a terminal cannot.
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _rows(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (
            title_of(name),
            percent(entry["value"]),
            percent_range(entry["interval"]),
            percent_bounds(entry["bounds"]),
        )
        for name, entry in content["metrics"].items()
    ]
    components = content["components"]
    if components:
        rows += [
            (f"{title} ({components['track']})", percent(components[key]), "", "")
            for key, title in (
                ("mean_f1", "component F1"),
                ("siou", "component sIoU"),
                ("ppv", "component PPV"),
            )
        ]
    if content["calibration"]:
        rows += [
            (f"calibration error {when}", percent(content["calibration"][f"ece_{when}"]), "", "")
            for when in ("before", "after")
        ]
    if content["closed_set"]:
        rows += [
            (title, percent(content["closed_set"][key]), "", "")
            for key, title in (("miou", "mIoU"), ("open_iou", "open-set mIoU"))
        ]
    return rows


def _comparison_table(content: Mapping[str, Any]) -> Table:
    from rich.table import Table

    compared = content["comparison"]
    table = Table(
        "metric",
        content["method"],
        compared["method"],
        "difference",
        f"{100 * compared['level']:g} % interval",
        "p",
        title=f"{compared['method']} minus {content['method']} (points)",
    )
    for name, part in compared["metrics"].items():
        table.add_row(
            title_of(name),
            percent(part["first"]),
            percent(part["second"]),
            f"{100 * part['difference']:+.2f}",
            percent_range(part["interval"]),
            f"{part['p_value']:.3g}",
        )
    return table
