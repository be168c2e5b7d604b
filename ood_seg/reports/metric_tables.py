"""Tables of the pixel metrics: over all images, and of each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ood_seg.metrics.formatting import (
    ABSENT,
    UNDEFINED,
    describe_metric,
    is_number,
    metric_heading,
    number,
    percent,
    percent_bounds,
    percent_range,
)
from ood_seg.reports.evaluations import (
    Evaluations,
    chance,
    has_interval,
    interval_levels,
    level,
    metric_names,
    ranked_images,
    unit,
    why_undefined,
)
from ood_seg.reports.tables import Table, best_rows


def metrics_table(evaluations: Evaluations) -> Table:
    """One row per metric for a single evaluation, else one row per method."""
    if len(evaluations) > 1:
        return methods_table(evaluations)
    ((_, evaluation),) = evaluations.items()
    metrics = evaluation["metrics"]
    columns = {"value": [percent(entry["value"]) for entry in metrics.values()]}
    if any(entry.get("interval") for entry in metrics.values()):
        intervals = [percent_range(entry.get("interval")) for entry in metrics.values()]
        columns[f"{level(evaluation)} interval"] = intervals
    if any(entry.get("bounds") for entry in metrics.values()):
        columns["bounds"] = [percent_bounds(entry.get("bounds")) for entry in metrics.values()]
    by_chance = [chance(evaluation, name) for name in metrics]
    if any(value is not None for value in by_chance):
        columns["chance"] = [ABSENT if value is None else percent(value) for value in by_chance]
    meanings = (describe_metric(name).meaning for name in metrics)
    counted = f"{unit(evaluations)}s"
    columns["meaning"] = [meaning.replace("pixels", counted) for meaning in meanings]
    return Table(
        f"{unit(evaluations).capitalize()} metrics in percent",
        ("metric", *columns),
        list(zip(map(metric_heading, metrics), *columns.values(), strict=True)),
        text_columns=("meaning",),
        note=_undefined_note(evaluations),
    )


def methods_table(evaluations: Evaluations, *, subject: str | None = None) -> Table:
    """One row per method, one column per metric, each value with its interval in brackets.

    Args:
        subject: start of the caption; None: the kind of the metrics.
    """
    subject = subject or f"{unit(evaluations).capitalize()} metrics in percent"
    names = metric_names(evaluations)
    rows = [
        (label, *(_with_interval(evaluation["metrics"].get(name)) for name in names))
        for label, evaluation in evaluations.items()
    ]
    best = set()
    for column, name in enumerate(names, start=1):
        entries = [one["metrics"].get(name, {"value": None}) for one in evaluations.values()]
        values = [entry["value"] for entry in entries]
        if (more_is_better := describe_metric(name).more_is_better) is not None:
            best |= {(row, column) for row in best_rows(values, more_is_better=more_is_better)}
    levels = interval_levels(evaluations)
    return Table(
        subject + (f"; in brackets {levels} intervals" if levels else ""),
        ("method", *map(metric_heading, names)),
        rows,
        note=_undefined_note(evaluations),
        best=frozenset(best),
    )


def _undefined_note(evaluations: Evaluations) -> str:
    """Why metrics are undefined; empty where all are defined."""
    reasons = {
        why_undefined(one["pixels"], unit(evaluations))
        for one in evaluations.values()
        if not all(is_number(entry["value"]) for entry in one["metrics"].values())
    }
    return f"{UNDEFINED}: {'; '.join(sorted(reasons))}." if reasons else ""


def _with_interval(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ABSENT
    if not has_interval(entry):
        return percent(entry["value"])
    low, high = map(percent, entry["interval"])
    return f"{percent(entry['value'])} [{low}, {high}]"


def images_table(evaluations: Evaluations, limit: int | None = None) -> Table | None:
    """Metrics of each image, the worst AP of the first method first; None without images.

    Args:
        evaluations: their images are matched by name.
        limit: of more images than this, only the worst and the best, this many in total.
    """
    if unit(evaluations) == "image":
        return scored_images_table(evaluations, limit)
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
            percent(images[image["name"]].get(metric)) if image["name"] in images else ABSENT
            for images in by_name
            for metric in metrics
        ]
        rows.append((image["name"], number(image["anomalous"]), share, *cells))
    labels = [f" {label}" if len(evaluations) > 1 else "" for label in evaluations]
    titles = [f"{metric_heading(metric)}{label}" for label in labels for metric in metrics]
    note = ""
    if any(UNDEFINED in row for row in rows):
        note = f"{UNDEFINED}: the image lacks known or anomalous pixels."
    if len(kept) < len(ranked):
        note = f"The worst and best {len(kept)} of {len(ranked)} images. {note}".strip()
    header = ("image", "anomalous pixels", "anomalous (%)", *titles)
    return Table("Metrics of each image in percent", header, rows, note=note)


def scored_images_table(evaluations: Evaluations, limit: int | None = None) -> Table | None:
    """Kind, classes and scores of the listed images of an image-level set, the worst first.

    Args:
        evaluations: their images are matched by name.
        limit: rows at most; None: all that are listed.
    """
    (_, first), *_ = evaluations.items()
    ranked = sorted(first.get("images") or [], key=lambda image: image["auroc"])[:limit]
    if not ranked:
        return None
    by_name = [{image["name"]: image for image in one["images"]} for one in evaluations.values()]
    rows = []
    for image in ranked:
        cells = [image["label"] or ABSENT]
        for images in by_name:
            row = images.get(image["name"])
            found = row and (
                row["predicted"] or ABSENT,
                number(row["score"]),
                percent(row["auroc"]),
            )
            cells += found or [ABSENT] * 3
        rows.append((image["name"], "outlier" if image["anomalous"] else "known", *cells))
    labels = [f" {label}" if len(evaluations) > 1 else "" for label in evaluations]
    titles = [f"{name}{label}" for label in labels for name in ("predicted", "score", "AUROC ↑")]
    note = (
        "The worst, the middle and the best images of each kind. AUROC: share of the images of "
        "the other kind on the right side of it, in percent."
    )
    text = ("kind", "class", *(title for title in titles if title.startswith("predicted")))
    header = ("image", "kind", "class", *titles)
    return Table("Scores of images", header, rows, text_columns=text, note=note)
