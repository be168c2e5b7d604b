"""The tables of the metrics, over all images and of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ood_seg.reports.wording import (
    UNDEFINED,
    Evaluations,
    chance,
    described,
    has_interval,
    heading_of,
    is_number,
    level,
    metric_names,
    number,
    percent,
    percent_bounds,
    percent_range,
    ranked_images,
    why_undefined,
)


class Table(NamedTuple):
    """A table of text.

    Attributes:
        caption: what it shows.
        header: titles of the columns; the first names the rows.
        rows: cells; the first of each row is its name.
        texts: columns that hold words; all others but the first are aligned as numbers.
        note: a sentence below.
        best: `(row, column)` of the cells with the best value of their column.
    """

    caption: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    texts: tuple[str, ...] = ()
    note: str = ""
    best: frozenset[tuple[int, int]] = frozenset()


def undefined_note(evaluations: Evaluations) -> str:
    """Says why metrics are undefined; empty where none is."""
    reasons = {
        why_undefined(one["pixels"])
        for one in evaluations.values()
        if not all(is_number(entry["value"]) for entry in one["metrics"].values())
    }
    return f"{UNDEFINED}: {'; '.join(sorted(reasons))}." if reasons else ""


def metrics_table(evaluations: Evaluations) -> Table:
    """One row per metric for a single evaluation, else one row per method."""
    if len(evaluations) > 1:
        return _methods_table(evaluations)
    ((_, evaluation),) = evaluations.items()
    metrics = evaluation["metrics"]
    columns = {"value": [percent(entry["value"]) for entry in metrics.values()]}
    if any(entry.get("interval") for entry in metrics.values()):
        intervals = [percent_range(entry.get("interval")) for entry in metrics.values()]
        columns[f"{level(evaluation)} interval"] = intervals
    if any(entry.get("bounds") for entry in metrics.values()):
        columns["surely within"] = [percent_bounds(m.get("bounds")) for m in metrics.values()]
    by_chance = [chance(evaluation, name) for name in metrics]
    if any(value is not None for value in by_chance):
        columns["chance"] = ["-" if value is None else percent(value) for value in by_chance]
    columns["meaning"] = [described(name).meaning for name in metrics]
    rows = list(zip(map(heading_of, metrics), *columns.values(), strict=True))
    return Table(
        "Pixel metrics in percent",
        ("metric", *columns),
        rows,
        texts=("meaning",),
        note=undefined_note(evaluations),
    )


def _methods_table(evaluations: Evaluations) -> Table:
    names = metric_names(evaluations)
    rows = [
        (label, *(_with_interval(evaluation["metrics"].get(name)) for name in names))
        for label, evaluation in evaluations.items()
    ]
    levels = {level(one) for one in evaluations.values() if one.get("interval")}
    inside = f"; in brackets the {' and '.join(sorted(levels))} intervals" if levels else ""
    return Table(
        f"Pixel metrics in percent{inside}",
        ("method", *map(heading_of, names)),
        rows,
        note=undefined_note(evaluations),
        best=frozenset(best_cells(evaluations, names)),
    )


def best_cells(evaluations: Evaluations, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Cells of `_methods_table` whose number, as printed, no other method betters."""
    for column, name in enumerate(names, start=1):
        if described(name).more_is_better is None:
            continue
        entries = [one["metrics"].get(name, {"value": None}) for one in evaluations.values()]
        values = [
            round(entry["value"], 4) if is_number(entry["value"]) else None for entry in entries
        ]
        numbers = [value for value in values if value is not None]
        best = (max if described(name).more_is_better else min)(numbers, default=None)
        yield from (
            (row, column) for row, value in enumerate(values) if value is not None and value == best
        )


def _with_interval(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    interval = entry.get("interval")
    brackets = f" [{percent(interval[0])}, {percent(interval[1])}]" if has_interval(entry) else ""
    return percent(entry["value"]) + brackets


def images_table(evaluations: Evaluations, limit: int | None = None) -> Table | None:
    """Metrics of each image, worst AP of the first method first; None without images.

    Args:
        evaluations: their images are matched by name.
        limit: with more images, only the worst and the best of this number in all.
    """
    ranked = ranked_images(next(iter(evaluations.values())))
    if not ranked:
        return None
    kept = ranked
    if limit is not None and len(ranked) > limit:
        kept = ranked[: limit - limit // 2] + ranked[len(ranked) - limit // 2 :]
    metrics = ("auroc", "ap", "fpr95") if len(evaluations) == 1 else ("ap", "fpr95")
    by_name = [{image["name"]: image for image in one["images"]} for one in evaluations.values()]
    rows = []
    for image in kept:
        valid = image["known"] + image["anomalous"]
        share = percent(image["anomalous"] / valid) if valid else UNDEFINED
        cells = [
            percent(images[image["name"]].get(metric)) if image["name"] in images else "-"
            for images in by_name
            for metric in metrics
        ]
        rows.append((image["name"], number(image["anomalous"]), share, *cells))
    labels = [f" {label}" if len(evaluations) > 1 else "" for label in evaluations]
    titles = [f"{heading_of(metric)}{label}" for label in labels for metric in metrics]
    note = f"{UNDEFINED}: the image lacks known or anomalous pixels." if _lacks(rows) else ""
    if len(kept) < len(ranked):
        note = f"The worst and best {len(kept)} of {len(ranked)} images. {note}".strip()
    header = ("image", "anomalous pixels", "anomalous (%)", *titles)
    return Table("Each image by itself, in percent", header, rows, note=note)


def _lacks(rows: Sequence[Sequence[str]]) -> bool:
    return any(UNDEFINED in row for row in rows)
