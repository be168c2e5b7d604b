"""Figures that show predictions side by side.

They are matplotlib `Figure` objects without pyplot, so there is no window and no global state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.io.files import atomic_path
from ood_seg.visualization.overlays import (
    COLOUR_MAP,
    check_same_size,
    completed_range,
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
    from matplotlib.patches import Patch

    low, high = completed_range(np.asarray(scores), vmin, vmax)
    check_same_size("scores", scores, image)
    figure, axes = _panels(1, ("image", "labels", "anomaly score"), image.shape)
    _show(axes[0][0], image)
    _show(axes[0][1], label_overlay(image, labels, palette))
    _show(axes[0][2], heat_map(scores, low, high))
    _add_colour_bar(figure, [axes[0][2]], low, high)
    present = [index for index in np.unique(labels) if 0 <= index < len(classes)]
    patches = [Patch(color=f"#{bytes(palette[i]).hex()}", label=classes[i]) for i in present]
    if patches:
        axes[0][1].legend(
            handles=patches,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=5,
            fontsize=7,
            frameon=False,
        )
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
    """

    image: np.ndarray
    ground_truth: np.ndarray
    before: np.ndarray
    after: np.ndarray
    name: str = ""


def comparison_figure(
    rows: Sequence[ComparisonRow],
    *,
    before: str = "score before",
    after: str = "score after",
    before_range: tuple[float, float] | None = None,
    after_range: tuple[float, float] | None = None,
) -> Figure:
    """Draw image, ground truth, score before and score after, one scene per row.

    Each score column has one range for all rows, so that colours can be compared down a column.
    The columns have different ranges, as training changes the scale of the scores.

    Args:
        rows: at least one.
        before, after: titles of the score columns.
        before_range, after_range: their ranges; by default from `score_range`.

    Raises:
        ValueError: no rows, or a map of another size than its image.
    """
    if not rows:
        raise ValueError("comparison_figure: expected at least one row, got none")
    ranges = (
        before_range or score_range(row.before for row in rows),
        after_range or score_range(row.after for row in rows),
    )
    titles = ("image", "ground truth", before, after)
    figure, axes = _panels(len(rows), titles, rows[0].image.shape)
    for row, (image_axes, truth_axes, *score_axes) in zip(rows, axes, strict=True):
        _show(image_axes, row.image)
        _show(truth_axes, ground_truth_overlay(row.image, row.ground_truth))
        image_axes.set_ylabel(row.name, fontsize=10)
        for one_axes, scores, limits in zip(
            score_axes, (row.before, row.after), ranges, strict=True
        ):
            check_same_size("scores", scores, row.image)
            _show(one_axes, heat_map(scores, *limits))
    for column, limits in zip((2, 3), ranges, strict=True):
        _add_colour_bar(figure, [one_row[column] for one_row in axes], *limits)
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


def _add_colour_bar(figure: Figure, axes: Sequence[Axes], low: float, high: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(norm=Normalize(low, high), cmap=COLOUR_MAP)
    aspect = 20 * len(axes)  # of the bar: one width for any number of panels
    bar = figure.colorbar(colours, ax=axes, fraction=0.04, pad=0.01, aspect=aspect, extend="both")
    bar.ax.tick_params(labelsize=7)
