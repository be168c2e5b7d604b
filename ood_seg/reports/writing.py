"""Writes the reports of one evaluation, or of several methods on one dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ood_seg.evaluation.run import SCHEMA
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.io.files import write_text
from ood_seg.reports import texts
from ood_seg.reports.evaluations import Evaluations
from ood_seg.reports.gallery import ReadMaps, gallery
from ood_seg.reports.page import html_page

FORMATS = ("html", "md", "csv", "tex", "json")


def write_reports(
    evaluation: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    max_images: int = 12,
    *,
    read_maps: ReadMaps | Sequence[ReadMaps] | None = None,
) -> dict[str, Path]:
    """Write `report.html`, `report.md`, `metrics.csv` with `images.csv`, `metrics.tex`, and JSON.

    Each file is written atomically.

    Args:
        evaluation: the content of `evaluation.json`, or several of them for one dataset, whose
            methods are then compared.
        folder: created if it does not exist.
        formats: of `FORMATS`.
        max_images: images drawn in the HTML page, half of them the worst and half the best.
        read_maps: reads a score file and a ground-truth file into two arrays `(H, W)`, as
            `MapReader.read` does; one for all evaluations, or one for each. By default they are
            read as they were for the evaluation, or as plain maps and masks of 0, 1, 255 where
            the evaluation does not record how.

    Returns:
        The files by format, and by `images_csv` if `csv` is written and there are images.

    Raises:
        ValueError: an unknown format, no evaluation, one of another schema, evaluations of
            different datasets, a negative `max_images`, or a number of readers that differs from
            that of the evaluations.
    """
    evaluations = by_label([evaluation] if isinstance(evaluation, Mapping) else list(evaluation))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"formats: expected some of {', '.join(FORMATS)}, got {unknown[0]!r}")
    if max_images < 0:
        raise ValueError(f"max_images must not be negative, got {max_images}")
    json_name = "evaluation.json" if len(evaluations) == 1 else "evaluations.json"
    makers: dict[str, tuple[str, str, Callable[[], str]]] = {
        "json": ("json", json_name, lambda: texts.json_text(evaluations)),
        "html": ("html", "report.html", lambda: _page(evaluations, read_maps, max_images)),
        "md": ("md", "report.md", lambda: texts.markdown(evaluations)),
        "csv": ("csv", "metrics.csv", lambda: texts.metrics_csv(evaluations)),
        "images_csv": ("csv", "images.csv", lambda: texts.images_csv(evaluations)),
        "tex": ("tex", "metrics.tex", lambda: texts.latex(evaluations)),
    }
    if not any(one.get("images") for one in evaluations.values()):
        del makers["images_csv"]
    return {
        key: write_text(Path(folder) / file, make())
        for key, (format_name, file, make) in makers.items()
        if format_name in formats
    }


def by_label(evaluations: Sequence[Mapping[str, Any]]) -> Evaluations:
    """The evaluations by method; the name of a method that occurs again gets a number.

    Raises:
        ValueError: no evaluation, one of another schema, or of another dataset than the first.
    """
    if not evaluations:
        raise ValueError("a report needs at least one evaluation, got none")
    for evaluation in evaluations:
        if evaluation.get("schema") != SCHEMA:
            raise ValueError(
                f"evaluation: expected schema {SCHEMA!r}, got {evaluation.get('schema')!r}"
            )
    datasets = list(dict.fromkeys(evaluation["data_set"] for evaluation in evaluations))
    if len(datasets) > 1:
        raise ValueError(
            f"methods are compared on one dataset, got {', '.join(map(repr, datasets))}; write "
            "one report for each"
        )
    found: dict[str, Mapping[str, Any]] = {}
    for evaluation in evaluations:
        label, times = evaluation["method"], 2
        while label in found:
            label, times = f"{evaluation['method']} ({times})", times + 1
        found[label] = evaluation
    return found


def _page(evaluations: Evaluations, read_maps: Any, max_images: int) -> str:
    if read_maps is None:
        read_maps = [
            MapReader.from_record(one.get("reader", {})).read for one in evaluations.values()
        ]
    readers = [read_maps] * len(evaluations) if callable(read_maps) else list(read_maps)
    if len(readers) != len(evaluations):
        raise ValueError(
            f"read_maps: expected one reader, or one for each of {len(evaluations)} evaluations, "
            f"got {len(readers)}"
        )
    return html_page(evaluations, gallery(evaluations, readers, max_images))
