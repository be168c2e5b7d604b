"""Pictures of predictions: label overlays, heat maps, and figures that put them side by side.

Everything is a pure function on arrays. Images are RGB `(H, W, 3)` uint8. Figures are
matplotlib `Figure` objects drawn by Agg, so there is no window and no global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.io.files import atomic_path
from ood_seg.labels import ANOMALY, IGNORE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Its lightness rises steadily, so that a print without colour keeps the order of the scores.
COLOUR_MAP = "inferno"
# Scores that are not finite: a grey-blue that the colour map does not contain.
_UNDEFINED = (110, 130, 150)
_ANOMALY_COLOUR = (255, 80, 0)
_VOID_COLOUR = (0, 0, 0)
_ROBUST_PERCENTILES = (1.0, 99.0)
_PANEL_WIDTH, _DPI = 5.0, 160  # inches, dots per inch


def label_overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], alpha: float = 0.5
) -> np.ndarray:
    """Blend the colours of the labels over an image.

    Args:
        image: `(H, W, 3)` uint8.
        labels: `(H, W)` integers. Values without a colour (254, 255) leave the image as it is.
        palette: one RGB colour for each class.
        alpha: weight of the colour, 0 (image alone) to 1 (colour alone).

    Returns:
        `(H, W, 3)` uint8, rounded to nearest; the inputs are unchanged.

    Raises:
        ValueError: shapes that do not fit, or alpha outside 0..1.
    """
    _check_image(image)
    _check_same_size("labels", labels, image)
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected 0..1, got {alpha}")
    colours = np.asarray(palette, dtype=np.float32).reshape(-1, 3)
    labels = np.asarray(labels)
    coloured = (labels >= 0) & (labels < len(colours))
    overlay = image.copy()
    blended = (1.0 - alpha) * image[coloured] + alpha * colours[labels[coloured]]
    overlay[coloured] = np.rint(blended).astype(np.uint8)
    return overlay


def ground_truth_overlay(image: np.ndarray, mask: np.ndarray, alpha: float = 0.7) -> np.ndarray:
    """Show an evaluation mask (0 known, 1 anomaly, 255 ignore) on its image.

    Anomalies are orange, ignored pixels dark, known ones plain.
    """
    palette = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    palette[ANOMALY] = _ANOMALY_COLOUR
    palette[IGNORE] = _VOID_COLOUR
    # Signed, as -1 for "no colour" would wrap round to 255 in uint8.
    shown = np.where(np.isin(mask, (ANOMALY, IGNORE)), np.asarray(mask, np.int16), -1)
    return label_overlay(image, shown, palette, alpha)


def score_range(scores: np.ndarray | Iterable[np.ndarray]) -> tuple[float, float]:
    """Return a display range for score maps: their 1st and 99th percentile.

    Scores are unbounded and often negative, so a fixed range such as 0..1 would paint most maps
    in one colour; the percentiles keep single extreme pixels from doing the same.

    Args:
        scores: one map, or several that shall share a range. Non-finite values are left out.

    Returns:
        `(low, high)` with `low < high`, also for constant and for empty maps.
    """
    maps = [scores] if isinstance(scores, np.ndarray) else list(scores)
    values = np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one in maps])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, _ROBUST_PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        margin = max(abs(low), 1.0) * 0.5
        return low - margin, high + margin
    return low, high


def heat_map(
    scores: np.ndarray, vmin: float | None = None, vmax: float | None = None
) -> np.ndarray:
    """Colour a score map; dark is normal, bright is anomalous.

    Args:
        scores: `(H, W)`. Pixels that are not finite come out grey-blue.
        vmin, vmax: scores shown darkest and brightest; by default from `score_range`.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        ValueError: not a map, or an empty range.
    """
    from matplotlib import colormaps

    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"scores: expected (H, W), got shape {scores.shape}")
    low, high = _completed_range(scores, vmin, vmax)
    finite = np.isfinite(scores)
    unit = np.clip((np.where(finite, scores, low) - low) / (high - low), 0.0, 1.0)
    table = np.rint(colormaps[COLOUR_MAP](np.arange(256))[:, :3] * 255).astype(np.uint8)
    coloured = table[np.rint(unit * 255).astype(np.uint8)]
    coloured[~finite] = _UNDEFINED
    return coloured


def _completed_range(
    scores: np.ndarray, vmin: float | None, vmax: float | None
) -> tuple[float, float]:
    low, high = (vmin, vmax) if None not in (vmin, vmax) else score_range(scores)
    low, high = (low if vmin is None else vmin), (high if vmax is None else vmax)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"score range: expected finite low < high, got {low} and {high}")
    return float(low), float(high)


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

    low, high = _completed_range(np.asarray(scores), vmin, vmax)
    _check_same_size("scores", scores, image)
    figure, axes = _panels(1, ("image", "labels", "anomaly score"), image.shape)
    _show(axes[0][0], image)
    _show(axes[0][1], label_overlay(image, labels, palette))
    _show(axes[0][2], heat_map(scores, low, high))
    _add_colour_bar(figure, [axes[0][2]], low, high)
    present = [index for index in np.unique(labels) if 0 <= index < len(classes)]
    patches = [Patch(color=np.array(palette[i]) / 255, label=classes[i]) for i in present]
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
    """What one row of `comparison_figure` shows.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        ground_truth: `(H, W)`: 0 known, 1 anomaly, 255 ignore.
        before: `(H, W)` scores of the first model.
        after: `(H, W)` scores of the second model.
        name: written beside the row.
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

    Each score column has one range for all rows, so that colours compare down a column. The two
    columns have ranges of their own: training moves the scale of the scores.

    Args:
        rows: at least one.
        before, after: titles of the score columns.
        before_range, after_range: their ranges; by default from `score_range`.

    Raises:
        ValueError: no rows, or maps of another size.
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
            _check_same_size("scores", scores, row.image)
            _show(one_axes, heat_map(scores, *limits))
    for column, limits in zip((2, 3), ranges, strict=True):
        _add_colour_bar(figure, [one_row[column] for one_row in axes], *limits)
    return figure


def save_figure(figure: Figure, path: str | Path, *, dpi: int = _DPI) -> Path:
    """Write a figure as PNG; the file appears complete or not at all."""
    path = Path(path)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.1)
    return path


def _panels(
    rows: int, titles: Sequence[str], shape: Sequence[int]
) -> tuple[Figure, Sequence[Sequence[Axes]]]:
    """Return a figure with a grid of empty panels in the proportions of the images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = _PANEL_WIDTH * min(max(shape[0] / shape[1], 0.2), 3.0)
    size = (_PANEL_WIDTH * len(titles) + 0.6, rows * height + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
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


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image: expected (H, W, 3) uint8, got shape {image.shape} of {image.dtype}"
        )


def _check_same_size(name: str, values: np.ndarray, image: np.ndarray) -> None:
    if values.shape != image.shape[:2]:
        raise ValueError(
            f"{name}: expected the size of the image {image.shape[:2]}, got {values.shape}"
        )
