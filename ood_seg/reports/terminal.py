"""Evaluations and calibrations printed to a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.metrics.formatting import (
    metric_title,
    percent,
    percent_bounds,
    percent_range,
)
from ood_seg.reports.evaluations import Evaluations, by_label, level
from ood_seg.reports.facts import facts, notices
from ood_seg.reports.metric_tables import methods_table
from ood_seg.reports.part_tables import (
    calibration_tables,
    closed_set_table,
    comparison_tables,
    component_tables,
    operating_points_table,
)
from ood_seg.reports.tables import Table, print_lines, print_table

if TYPE_CHECKING:
    from ood_seg.calibration import Calibration

# Part of an evaluation -> titles of its values.
_PARTS = {
    "components": {"mean_f1": "component F1", "siou": "component sIoU", "ppv": "component PPV"},
    "calibration": {
        "ece_before": "calibration error before",
        "ece_after": "calibration error after",
    },
    "closed_set": {"miou": "mIoU", "open_iou": "open-set mIoU"},
}


def print_evaluation(content: Mapping[str, Any], *, written: Sequence[Path] = ()) -> None:
    """Print the metrics of all methods in percent, and how they were computed.

    Args:
        content: of `evaluation.json`.
        written: the files that hold it, in one folder.
    """
    evaluations = by_label([content])
    several = len(evaluations) > 1
    print_lines(*(f"note: {note}" for note in notices(evaluations)))
    for table in _tables_of_methods(evaluations) if several else [_metrics_and_parts(content)]:
        print_table(table)
    for table in comparison_tables(evaluations):
        print_table(table)
    print_lines(*(f"{term}: {text}" for term, text in facts(evaluations)))
    if written:
        names = ", ".join(path.name for path in written)
        print_lines(f"written to {written[0].parent}: {names}")


def _metrics_and_parts(content: Mapping[str, Any]) -> Table:
    """One table of all values of a single method."""
    interval = f"{level(content)} interval" if content["interval"] else "interval"
    title = f"{content['method']} on {content['data_set']} (%)"
    return Table(title, ("metric", "value", interval, "bounds"), list(_rows(content)))


def _tables_of_methods(evaluations: Evaluations) -> Iterator[Table]:
    """Tables with one row for each method."""
    yield methods_table(evaluations)
    yield from component_tables(evaluations)[:1]
    yield from calibration_tables(evaluations)[:1]
    if known_classes := closed_set_table(evaluations):
        yield known_classes


def print_calibration(
    calibration: Calibration, *, notes: Sequence[str] = (), written: Path | None = None
) -> None:
    """Print the operating points with their rates and guarantees.

    Args:
        calibration: with the false alarms of its points.
        notes: on what was left out.
        written: the file that holds it.
    """
    points = calibration.operating_points.values()
    # Guarantees are too long for a column of a terminal.
    rows = [{**asdict(point), "guarantee": None} for point in points]
    caption = f"{calibration.score} on {calibration.data_set}"
    print_table(
        operating_points_table(rows, caption),
        f"{calibration.num_images} images; {_fit_quality(calibration)}",
        *(f"{point.name}: {point.guarantee}" for point in points if point.guarantee),
        *(f"note: {note}" for note in notes),
        f"written: {written}" if written else "",
    )


def _fit_quality(calibration: Calibration) -> str:
    if calibration.ece_before is None or calibration.ece_after is None:
        return "no probability, which takes anomalous pixels"
    images = "held-out halves" if calibration.ece_held_out else "the same images"
    return (
        f"expected calibration error {calibration.ece_before:.4f} before, "
        f"{calibration.ece_after:.4f} after (on {images})"
    )


def _rows(content: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, entry in content["metrics"].items():
        ranges = percent_range(entry["interval"]), percent_bounds(entry["bounds"])
        yield metric_title(name), percent(entry["value"]), *ranges
    for part, titles in _PARTS.items():
        for key, title in titles.items() if content[part] else ():
            yield title, percent(content[part][key]), "", ""
