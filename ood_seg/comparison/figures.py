"""The figure of a benchmark: precision-recall and ROC curves of all scores, one row per set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_STYLES = ("-", "--", ":")


def curves_figure(content: Mapping[str, Any]) -> Figure:
    """Draw the curves, with the legend to the right of them.

    Args:
        content: of `benchmark.json`.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    sets, names = content["sets"], content["scores"]
    height = max(3.2 * len(sets), 0.19 * len(names) + 0.6)
    figure = Figure(figsize=(9.6, height), layout="constrained")
    axes = figure.subplots(len(sets), 2, squeeze=False)
    colours = colormaps["tab10"](range(10))
    styles = {
        name: {"color": colours[k % 10], "linestyle": _STYLES[k // 10 % 3], "linewidth": 1.2}
        for k, name in enumerate(names)
    }
    drawn = {}
    for pair, (title, one) in zip(axes, sets.items(), strict=True):
        drawn.update(_draw_set(pair, title, one, styles))
    shown = [name for name in names if name in drawn]
    figure.legend(
        [drawn[name] for name in shown],
        shown,
        loc="outside right upper",
        fontsize=8,
        frameon=False,
    )
    return figure


def _draw_set(
    axes: Sequence[Axes], title: str, one: Mapping[str, Any], styles: Mapping[str, dict]
) -> dict[str, Line2D]:
    """Draw both curves of all scores on a dataset; return the lines of the first kind by score."""
    left, right = axes
    drawn = {}
    for name, result in one["scores"].items():
        pr, roc = result["curves"]["pr"], result["curves"]["roc"]
        (drawn[name],) = left.plot(pr["recall"], pr["precision"], label=name, **styles[name])
        right.plot(roc["fpr"], roc["tpr"], **styles[name])
    pixels = one["pixels"] or {"known": 0, "anomalous": 0}  # None: every score failed
    valid = pixels["known"] + pixels["anomalous"]
    if valid:
        left.axhline(pixels["anomalous"] / valid, color="grey", linewidth=0.8, zorder=0)
    right.plot([0, 1], [0, 1], color="grey", linewidth=0.8, zorder=0)
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, None), title=title)
    right.set(
        xlabel="false-positive rate",
        ylabel="true-positive rate",
        xlim=(0, 1),
        ylim=(0, 1),
        title=title,
    )
    return drawn
