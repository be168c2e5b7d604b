"""Tables of the optional parts: comparison, components, calibration, known classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ood_seg.metrics.formatting import (
    ABSENT,
    UNDEFINED,
    is_number,
    metric_heading,
    number,
    percent,
    percent_range,
)
from ood_seg.reports.evaluations import Evaluations
from ood_seg.reports.tables import Table

_GUARANTEE = "guarantee for new images"


def _parts(evaluations: Evaluations, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The named part of each evaluation that has it, by label."""
    return [(label, one[name]) for label, one in evaluations.items() if one.get(name)]


def comparison_tables(evaluations: Evaluations) -> list[Table]:
    """Differences of other methods to one, with intervals and p-values."""
    found = []
    for label, one in evaluations.items():
        # Earlier versions wrote one section alone.
        parts = one.get("comparisons") or ([one["comparison"]] if one.get("comparison") else [])
        if parts:
            found.append(_comparison(label, parts) if parts[1:] else _pair(label, parts[0]))
    return found


def _pair(label: str, part: Mapping[str, Any]) -> Table:
    rows = [(metric_heading(name), *_differences(entry)) for name, entry in part["metrics"].items()]
    header = ("metric", label, part["method"], "difference", *_interval_titles(part))
    note = f"Difference: {part['method']} minus {label}{_of_resamples(part)}"
    return Table("Paired comparison in percent", header, rows, note=note)


def _comparison(label: str, parts: Sequence[Mapping[str, Any]]) -> Table:
    """All methods compared with one, metric by metric."""
    rows = [
        (part["method"], metric_heading(name), *_differences(part["metrics"][name]))
        for name in dict.fromkeys(name for part in parts for name in part["metrics"])
        for part in parts
        if name in part["metrics"]
    ]
    header = ("method", "metric", label, "its value", "difference", *_interval_titles(parts[0]))
    note = (
        f"Difference: its value minus that of {label}{_of_resamples(parts[0])} Each p-value is "
        "that of its own pair, not corrected for the number of methods."
    )
    caption = f"Paired comparison with {label} in percent"
    return Table(caption, header, rows, note=note)


def _differences(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        *(percent(entry[key]) for key in ("first", "second", "difference")),
        percent_range(entry["interval"]),
        f"{entry['p_value']:.3g}" if is_number(entry["p_value"]) else UNDEFINED,
    )


def _interval_titles(part: Mapping[str, Any]) -> tuple[str, str]:
    return f"{100 * part['level']:g} % interval", "p-value"


def _of_resamples(part: Mapping[str, Any]) -> str:
    if not part["samples"]:
        return ", in percentage points; without resamples there are no intervals."
    return (
        f", in percentage points, over the same {number(part['samples'])} resamples of the images. "
        "An interval without 0: the choice of images does not explain the difference."
    )


def component_tables(evaluations: Evaluations) -> list[Table]:
    """Means of all methods; then for each method a table by sIoU threshold and one by size."""
    parts = _parts(evaluations, "components")
    if not parts:
        return []
    means = [
        (label, part["track"], *(percent(part[name]) for name in ("mean_f1", "siou", "ppv")))
        for label, part in parts
    ]
    header = ("method", "track", "mean F1 ↑", "mean sIoU ↑", "mean PPV ↑")
    note = (
        "sIoU: overlap of each true component with the predictions on it. PPV: share of each "
        "predicted component that is anomalous. Predicted: pixels above the best-F1 threshold."
    )
    tables = [Table("Components in percent", header, means, text_columns=("track",), note=note)]
    for label, part in parts:
        suffix = f", {label}" if len(evaluations) > 1 else ""
        tables += [_by_threshold(part, suffix), _by_size(part, suffix)]
    return [table for table in tables if table.rows]


def _by_threshold(part: Mapping[str, Any], suffix: str) -> Table:
    rows = [
        (
            f"{row['threshold']:.2f}",
            *(number(row[k]) for k in ("tp", "fn", "fp")),
            percent(row["f1"]),
        )
        for row in part["by_threshold"]
    ]
    header = ("sIoU threshold", "found", "missed", "false alarms", "F1 (%)")
    return Table(f"Components by sIoU threshold{suffix}", header, rows)


def _by_size(part: Mapping[str, Any], suffix: str) -> Table:
    rows = []
    for row in part["by_size"]:
        low, high, count = row["min_area"], row["max_area"], row["count"]
        area = f"{number(low)} and more" if high is None else f"{number(low)} to {number(high - 1)}"
        siou = percent(row["siou"]) if count else ABSENT
        rows.append((area, number(count), number(row["found"]), siou))
    header = ("area (pixels)", "true components", "found at sIoU 0.25", "mean sIoU (%)")
    return Table(f"True components by size{suffix}", header, rows)


def calibration_tables(evaluations: Evaluations) -> list[Table]:
    """Calibration errors of all methods; then for each method its operating points."""
    parts = _parts(evaluations, "calibration")
    if not parts:
        return []
    rows = [
        (label, part["method"], percent(part["ece_before"]), percent(part["ece_after"]))
        for label, part in parts
    ]
    header = ("method", "calibration", "ECE before ↓", "ECE after ↓")
    note = "ECE: mean distance between the anomaly probability and the observed frequency."
    note += _division(parts)
    tables = [Table("Calibration error in percent", header, rows, ("calibration",), note)]
    for label, part in parts:
        caption = "Operating points" + (f", {label}" if len(evaluations) > 1 else "")
        tables.append(operating_points_table(part["operating_points"], caption))
    return [table for table in tables if table.rows]


def _division(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """How many images it was fitted and reported on; empty where that is not recorded."""
    sizes = {
        (part["select_images"], part["report_images"])
        for _, part in parts
        if "select_images" in part
    }
    if len(sizes) != 1:
        return ""
    ((selected, reported),) = sizes
    return f" Fitted on {number(selected)} images, reported on {number(reported)}."


def operating_points_table(points: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Thresholds with their rates, and with their guarantees if there are any.

    Args:
        points: fields of `OperatingPoint` each.
        caption: of the table.
    """
    header = ["operating point", "threshold", "TPR (%)", "FPR (%)", "false alarms / image"]
    rows: list[tuple[str, ...]] = []
    for point in points:
        threshold, alarms = point["threshold"], point.get("false_alarms_per_image")
        threshold = number(float(threshold)) if is_number(threshold) else UNDEFINED
        rates = percent(point["tpr"]), percent(point["fpr"])
        alarms = ABSENT if alarms is None else f"{alarms:.2f}"
        rows.append((point["name"], threshold, *rates, alarms))
    guarantees = [point.get("guarantee") for point in points]
    if any(guarantees):
        header.append(_GUARANTEE)
        rows = [(*row, text or ABSENT) for row, text in zip(rows, guarantees, strict=True)]
    note = "Flagged: pixels whose score is at least the threshold."
    return Table(caption, header, rows, (_GUARANTEE,), note)


def closed_set_table(evaluations: Evaluations) -> Table | None:
    """mIoU of the known classes, and open-set mIoU; None where no method has them."""
    rows = [
        (label, percent(part["miou"]), percent(part["open_iou"]), _cost(part))
        for label, part in _parts(evaluations, "closed_set")
    ]
    if not rows:
        return None
    header = ("method", "mIoU ↑", "open-set mIoU ↑", "difference")
    note = (
        "Open-set mIoU: known pixels above the rejection threshold count as missed, accepted "
        "anomalies as false. Difference: what rejecting and accepting by the threshold costs."
    )
    return Table("Known classes in percent", header, rows, note=note)


def _cost(part: Mapping[str, Any]) -> str:
    if not (is_number(part["miou"]) and is_number(part["open_iou"])):
        return UNDEFINED
    return percent(part["open_iou"] - part["miou"])
