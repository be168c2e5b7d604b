"""Writes the reports of one evaluation, or of several methods on one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ood_seg.io.files import write_text
from ood_seg.reports import texts
from ood_seg.reports.evaluations import Evaluations
from ood_seg.reports.gallery import ReadMaps, gallery
from ood_seg.reports.page import html_page

SCHEMA = "ood_seg.evaluation/1"
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

    Each file appears complete or not at all.

    Args:
        evaluation: what `evaluation.json` holds, or several of them for one data set, whose
            methods are then compared.
        folder: made where it is missing.
        formats: of `FORMATS`.
        max_images: pictures in the HTML page, half of the worst and half of the best images.
        read_maps: reads the files of scores and of ground truth into two arrays `(H, W)`, as
            `MapReader.read`; one for all, or one for each evaluation. By default as each was read
            when it was evaluated; one that does not say so, as plain maps and masks of 0, 1, 255.

    Returns:
        The files by format; `csv` brings `images_csv` with it where there are images.

    Raises:
        ValueError: an unknown format, no evaluation, one of another schema, evaluations of
            different data sets, a negative `max_images`, or another number of readers than of
            evaluations.
    """
    evaluations = labelled([evaluation] if isinstance(evaluation, Mapping) else list(evaluation))
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"there is no format {unknown[0]!r}; available: {', '.join(FORMATS)}")
    if max_images < 0:
        raise ValueError(f"max_images must not be negative, got {max_images}")
    folder = Path(folder)
    name = "evaluation.json" if len(evaluations) == 1 else "evaluations.json"
    makers: dict[str, tuple[str, str, Callable[[], str]]] = {
        "html": ("html", "report.html", lambda: _page(evaluations, read_maps, max_images)),
        "md": ("md", "report.md", lambda: texts.markdown(evaluations)),
        "csv": ("csv", "metrics.csv", lambda: texts.metrics_csv(evaluations)),
        "images_csv": ("csv", "images.csv", lambda: texts.images_csv(evaluations)),
        "tex": ("tex", "metrics.tex", lambda: texts.latex(evaluations)),
        "json": ("json", name, lambda: texts.json_text(evaluations)),
    }
    if not any(one.get("images") for one in evaluations.values()):
        del makers["images_csv"]
    return {
        key: write_text(folder / file, make())
        for key, (format_name, file, make) in makers.items()
        if format_name in formats
    }


def labelled(evaluations: Sequence[Mapping[str, Any]]) -> Evaluations:
    """The evaluations by method; a method that comes again gets a number.

    Raises:
        ValueError: as `write_reports`.
    """
    if not evaluations:
        raise ValueError("a report needs at least one evaluation, got none")
    for evaluation in evaluations:
        if evaluation.get("schema") != SCHEMA:
            raise ValueError(
                f"expected an evaluation of the schema {SCHEMA!r}, got {evaluation.get('schema')!r}"
            )
    data_sets = list(dict.fromkeys(evaluation["data_set"] for evaluation in evaluations))
    if len(data_sets) > 1:
        raise ValueError(
            f"methods are compared on one data set, got {', '.join(map(repr, data_sets))}; write "
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
        # It brings pillow along, which the other formats do not need.
        from ood_seg.evaluation.saved_maps import MapReader

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
