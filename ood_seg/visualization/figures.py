"""Figures that show predictions side by side.

They are matplotlib `Figure` objects without pyplot, so there is no window and no global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.io.files import atomic_path
from ood_seg.visualization.overlays import (
    COLOUR_MAP,
    DECISION_COLOURS,
    check_same_size,
    completed_range,
    decision_overlay,
    ground_truth_overlay,
    heat_map,
    label_overlay,
    score_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_WIDTH, _DPI = 5.0, 160  # inches, dots per inch


def prediction_figure(
    image: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    vmin: float | None = None,
    vmax: float | None = None,
) -> Figure:
    """Draw the image, its labels with a legend of the classes present, and its heat map.

    Args:
        image: `(H, W, 3)` uint8.
        labels: `(H, W)` predicted classes.
        scores: `(H, W)` anomaly scores.
        classes: name of each class.
        palette: RGB colour of each class.
        vmin, vmax: scores shown darkest and brightest; by default from `score_range`.
    """
    low, high = completed_range(np.asarray(scores), vmin, vmax)
    check_same_size("scores", scores, image)
    figure, axes = _panels(1, ("image", "labels", "anomaly score"), image.shape)
    _show(axes[0][0], image)
    _show(axes[0][1], label_overlay(image, labels, palette))
    _show(axes[0][2], heat_map(scores, low, high))
    _add_colour_bar(figure, [axes[0][2]], low, high)
    present = [index for index in np.unique(labels) if 0 <= index < len(classes)]
    _add_legend(axes[0][1], {classes[index]: palette[index] for index in present})
    return figure


@dataclass(frozen=True)
class ComparisonRow:
    """One row of `comparison_figure`.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        ground_truth: `(H, W)`: 0 known, 1 anomaly, 255 ignore.
        before: `(H, W)` scores of the first model.
        after: `(H, W)` scores of the second model.
        name: label of the row.
        score_range: scores shown darkest and brightest; None: `score_range` of both maps.
        threshold: of the scores of the second model; pixels at or above it are flagged.
    """

    image: np.ndarray
    ground_truth: np.ndarray
    before: np.ndarray
    after: np.ndarray
    name: str = ""
    score_range: tuple[float, float] | None = None
    threshold: float | None = None


def comparison_figure(
    rows: Sequence[ComparisonRow],
    *,
    before: str = "score before",
    after: str = "score after",
    decision: str = "decision",
) -> Figure:
    """Draw image, ground truth, score before and score after, one scene per row.

    The two score maps of a row have one range, so that colours can be compared across it. Where
    every row has a threshold, a last column shows the pixels that it finds, misses and flags
    wrongly.

    Args:
        rows: at least one.
        before, after, decision: titles of these columns.

    Raises:
        ValueError: no rows, or a map of another size than its image.
    """
    if not rows:
        raise ValueError("comparison_figure: expected at least one row, got none")
    decides = all(row.threshold is not None for row in rows)
    titles = ["image", "ground truth", before, after, *([decision] if decides else [])]
    figure, axes = _panels(len(rows), titles, rows[0].image.shape)
    for row, row_axes in zip(rows, axes, strict=True):
        for name in ("before", "after"):
            check_same_size(name, getattr(row, name), row.image)
        low, high = row.score_range or score_range([row.before, row.after])
        panels = [row.image, ground_truth_overlay(row.image, row.ground_truth)]
        panels += [heat_map(scores, low, high) for scores in (row.before, row.after)]
        if decides:
            panels.append(decision_overlay(row.image, row.ground_truth, row.after >= row.threshold))
        for one_axes, panel in zip(row_axes, panels, strict=True):
            _show(one_axes, panel)
        row_axes[0].set_ylabel(row.name, fontsize=10)
        _add_colour_bar(figure, list(row_axes[2:4]), low, high)
    if decides:
        _add_legend(axes[-1][-1], DECISION_COLOURS)
    return figure


def image_grid(
    rows: Mapping[str, Sequence[np.ndarray | None]],
    titles: Sequence[str],
    *,
    legend: Mapping[str, Sequence[int]] | None = None,
) -> Figure:
    """Draw rows of images, each with its name beside its first panel.

    Args:
        rows: images `(H, W, 3)` uint8 RGB by the name of the row, as many as titles; None leaves a
            place empty.
        titles: of the columns.
        legend: RGB colours by their meaning, below the last panel.

    Raises:
        ValueError: no rows, or a row of another length.
    """
    if not rows:
        raise ValueError("image_grid: expected at least one row, got none")
    first = next(image for images in rows.values() for image in images if image is not None)
    figure, axes = _panels(len(rows), titles, first.shape)
    for (name, images), row_axes in zip(rows.items(), axes, strict=True):
        for one_axes, image in zip(row_axes, images, strict=True):
            if image is None:
                one_axes.axis("off")
            else:
                _show(one_axes, image)
        row_axes[0].set_ylabel(name, fontsize=9)
    _add_legend(axes[-1][-1], legend or {})
    return figure


def save_figure(figure: Figure, path: str | Path, *, dpi: int = _DPI) -> Path:
    """Write a figure as PNG, atomically."""
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.1)
    return path


def _panels(rows: int, titles: Sequence[str], shape: Sequence[int]) -> tuple[Figure, np.ndarray]:
    """Return a figure with a grid of empty panels in the aspect ratio of the images."""
    from matplotlib.figure import Figure

    height = _PANEL_WIDTH * min(max(shape[0] / shape[1], 0.2), 3.0)
    size = (_PANEL_WIDTH * len(titles) + 0.6, rows * height + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, len(titles), squeeze=False)
    for one, title in zip(axes[0], titles, strict=True):
        one.set_title(title, fontsize=10)
    return figure, axes


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])


def _add_legend(axes: Axes, colours: Mapping[str, Sequence[int]]) -> None:
    """Name the colours of a panel below it; nothing for no colours."""
    from matplotlib.patches import Patch

    patches = [Patch(color=f"#{bytes(rgb).hex()}", label=name) for name, rgb in colours.items()]
    if patches:
        axes.legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=5,
            fontsize=7,
            frameon=False,
        )


def _add_colour_bar(figure: Figure, axes: Sequence[Axes], low: float, high: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(norm=Normalize(low, high), cmap=COLOUR_MAP)
    aspect = 20 * len(axes)  # of the bar: one width for any number of panels
    bar = figure.colorbar(colours, ax=axes, fraction=0.04, pad=0.01, aspect=aspect, extend="both")
    bar.ax.tick_params(labelsize=7)
