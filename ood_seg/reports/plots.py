"""Charts of what was measured on pasted scenes: the outlier prior, the energies.

Figures are matplotlib `Figure` objects drawn by Agg; `visualization.save_figure` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KNOWN_COLOUR, _OUTLIER_COLOUR = "#4c72b0", "#dd6b20"


def prior_figure(priors: Mapping[str, Sequence[float]], classes: Sequence[str]) -> Figure:
    """Draw one or more outlier priors as bars, classes in falling order of the first.

    Args:
        priors: by name, `(C,)` each, summing to one.
        classes: name of each class.

    Raises:
        ValueError: no prior, or another length than the classes.
    """
    if not priors or any(len(prior) != len(classes) for prior in priors.values()):
        lengths = {name: len(prior) for name, prior in priors.items()}
        raise ValueError(f"prior_figure needs priors of {len(classes)} classes, got {lengths}")
    order = np.argsort(-np.asarray(next(iter(priors.values()))), kind="stable")
    figure, axes = _figure(0.5 + 0.45 * len(classes), 3.6)
    width = 0.8 / len(priors)
    for place, (name, prior) in enumerate(priors.items()):
        offset = (place - (len(priors) - 1) / 2) * width
        axes.bar(np.arange(len(classes)) + offset, np.asarray(prior)[order], width, label=name)
    axes.axhline(1 / len(classes), color="grey", linewidth=0.8, linestyle="--", label="uniform")
    axes.set_xticks(range(len(classes)), [classes[i] for i in order], rotation=55, ha="right")
    axes.set_ylabel("share of outlier pixels")
    axes.set_title("predicted class of pasted outlier pixels")
    axes.legend(fontsize=8, frameon=False)
    return figure


def energy_figure(
    edges: np.ndarray,
    known: np.ndarray,
    outliers: np.ndarray,
    margins: Mapping[str, tuple[float, float]],
) -> Figure:
    """Draw the energies of known and outlier pixels, and margins as vertical lines.

    Args:
        edges: of the bins, `(B + 1,)`.
        known, outliers: pixels a bin, `(B,)`; each is drawn as a share of its kind.
        margins: `(m_in, m_out)` by name.
    """
    figure, axes = _figure(7.0, 3.6)
    for name, counts, colour in (
        ("known", known, _KNOWN_COLOUR),
        ("outlier", outliers, _OUTLIER_COLOUR),
    ):
        axes.stairs(counts / max(counts.sum(), 1), edges, fill=True, alpha=0.5, color=colour)
        axes.stairs(counts / max(counts.sum(), 1), edges, color=colour, label=f"{name} pixels")
    for style, (name, (margin_in, margin_out)) in zip(_styles(), margins.items(), strict=False):
        axes.axvline(margin_in, color=_KNOWN_COLOUR, linestyle=style, label=f"m_in, {name}")
        axes.axvline(margin_out, color=_OUTLIER_COLOUR, linestyle=style, label=f"m_out, {name}")
    axes.set_xlabel("energy (higher = more anomalous)")
    axes.set_ylabel("share of pixels")
    axes.legend(fontsize=8, frameon=False)
    return figure


def _styles() -> tuple[str, ...]:
    return "-", "--", ":", "-."


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
