"""Writes the reports of one evaluation, or of several methods on one dataset."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_seg.evaluation.refined_maps import reader_of
from ood_seg.io.files import write_text
from ood_seg.reports import texts
from ood_seg.reports.evaluations import Evaluations, by_label, unit
from ood_seg.reports.gallery import (
    PLACES,
    Gallery,
    ReadMaps,
    SmallMaps,
    gallery,
    read_small_maps,
)
from ood_seg.reports.image_examples import image_gallery
from ood_seg.reports.page import html_page
from ood_seg.visualization import (
    DECISION_COLOURS,
    decision_overlay,
    ground_truth_overlay,
    image_grid,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("html", "md", "csv", "tex", "json", "png")


def write_reports(
    evaluation: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    folder: str | Path,
    formats: Sequence[str] = FORMATS[:-1],
    max_images: int = 12,
    *,
    read_maps: ReadMaps | Sequence[ReadMaps] | None = None,
) -> dict[str, Path]:
    """Write `report.html`, `report.md`, `metrics.csv` with `images.csv`, `metrics.tex`, and JSON.

    With the format `png` also `decisions.png`: what each method finds, misses and flags wrongly.
    Each file is written atomically.

    Args:
        evaluation: the content of `evaluation.json`, or several of them for one dataset; all
            their methods, those under `others` included, are shown side by side.
        folder: created if it does not exist.
        formats: of `FORMATS`.
        max_images: images drawn, a third each of the lowest, the middle and the highest AP by the
            first evaluation; of an image-level set, half outliers and half known images, by AUROC.
        read_maps: reads a score file and a ground-truth file into two arrays `(H, W)`, as
            `MapReader.read` does; one for all methods, or one for each. By default they are
            read as they were for the evaluation, or as plain maps and masks of 0, 1, 255 where
            the evaluation does not record how.

    Returns:
        The files by format, and by `images_csv` if `csv` is written and there are images.

    Raises:
        ValueError: an unknown format, no evaluation, one of another schema, evaluations of
            different datasets, a negative `max_images`, or a number of readers that differs from
            that of the methods.
    """
    given = [evaluation] if isinstance(evaluation, Mapping) else list(evaluation)
    evaluations = by_label(given)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"formats: expected some of {', '.join(FORMATS)}, got {unknown[0]!r}")
    if max_images < 0:
        raise ValueError(f"max_images must not be negative, got {max_images}")
    by_image = unit(evaluations) == "image"
    drawn = evaluations, _readers(evaluations, read_maps), max_images

    def shown() -> Gallery:
        return image_gallery(evaluations, max_images) if by_image else gallery(*drawn)

    json_name = "evaluation.json" if len(given) == 1 else "evaluations.json"
    makers: dict[str, tuple[str, str, Callable[[], str]]] = {
        "json": ("json", json_name, lambda: texts.json_text(given)),
        "html": ("html", "report.html", lambda: html_page(evaluations, shown())),
        "md": ("md", "report.md", lambda: texts.markdown(evaluations)),
        "csv": ("csv", "metrics.csv", lambda: texts.metrics_csv(evaluations)),
        "images_csv": ("csv", "images.csv", lambda: texts.images_csv(evaluations)),
        "tex": ("tex", "metrics.tex", lambda: texts.latex(evaluations)),
    }
    if not any(one.get("images") for one in evaluations.values()):
        del makers["images_csv"]
    written = {
        key: write_text(Path(folder) / file, make())
        for key, (format_name, file, make) in makers.items()
        if format_name in formats
    }
    if "png" in formats:
        maps, problems = read_small_maps(*drawn)
        for problem in problems:
            warnings.warn(f"decisions.png: {problem}", stacklevel=2)
        if maps:
            figure = _decision_figure(maps, list(evaluations))
            written["png"] = save_figure(figure, Path(folder) / "decisions.png", dpi=100)
    return written


def _readers(evaluations: Evaluations, read_maps: Any) -> list[ReadMaps]:
    if read_maps is None:
        return [reader_of(one.get("reader", {})).read for one in evaluations.values()]
    readers = [read_maps] * len(evaluations) if callable(read_maps) else list(read_maps)
    if len(readers) != len(evaluations):
        raise ValueError(
            f"read_maps: expected one reader, or one for each of {len(evaluations)} methods, "
            f"got {len(readers)}"
        )
    return readers


def _decision_figure(shown: Sequence[SmallMaps], methods: Sequence[str]) -> Figure:
    """A row for each image, a column for the decision of each method."""
    rows = {}
    for maps in sorted(shown, key=lambda maps: PLACES.index(maps.place)):
        panels: list[np.ndarray | None] = [maps.image, ground_truth_overlay(maps.image, maps.truth)]
        panels += [
            decision_overlay(maps.image, maps.truth, maps.flagged[method])
            if method in maps.flagged
            else None
            for method in methods
        ]
        rows[f"{maps.place}: {maps.name}\n" + maps.ap.replace(", ", "\n")] = panels
    titles = ["image", "ground truth", *(f"decision, {method}" for method in methods)]
    return image_grid(rows, titles, legend=DECISION_COLOURS)
