"""Report the energies of known and pasted pixels under a pre-trained model, and margins."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from ood_seg.commands import _pretrained

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import DataLoader

    from ood_seg.margins import EnergySummary, Margins
    from ood_seg.metrics.histogram import ScoreHistogram

_CONFIGURED = "config"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg suggest-margins`."""
    _pretrained.add_arguments(parser, num_images=200, one_process=True)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write as the arguments say."""
    from ood_seg.io.json_files import write_json
    from ood_seg.io.provenance import git_commit
    from ood_seg.margins import at_margins, suggest_margins, summaries
    from ood_seg.reports.plots import energy_figure
    from ood_seg.visualization import save_figure

    cfg, model, loader, seed = _pretrained.load(args)
    path = _pretrained.output_path(args, cfg, "margins.json")
    histogram = energies_of(model, loader, num_images=args.num_images, seed=seed)
    known, outliers = summaries(histogram)
    margins = suggest_margins(histogram)
    configured = margins_of(cfg.model)
    if configured is not None:
        margins[_CONFIGURED] = at_margins(histogram, *configured)
    edges, counts = display_bins(histogram)
    lines = {name: (pair.margin_in, pair.margin_out) for name, pair in margins.items()}
    picture = save_figure(energy_figure(edges, *counts, lines), path.with_suffix(".png"))
    content = {
        "schema": "ood_seg.margins/1",
        "known": asdict(known),
        "outliers": asdict(outliers),
        "margins": {name: asdict(pair) for name, pair in margins.items()},
        "model": str(cfg.load_from),
        "config": str(cfg.filename),
        "num_images": args.num_images,
        "seed": seed,
        "git_commit": git_commit(),
    }
    write_json(path, content)
    print_tables(known, outliers, margins, note=f"written to {path} and {picture.name}")
    return 0


def energies_of(
    model: nn.Module, loader: DataLoader, *, num_images: int, seed: int
) -> ScoreHistogram:
    """Energies of the known and the pasted pixels of training scenes.

    The temperature is that of the model's outlier losses, 1 where they have none.
    """
    from ood_seg.engine.outlier_prior import visit_pasted_scenes
    from ood_seg.labels import ANOMALY, IGNORE, KNOWN, split_labels
    from ood_seg.metrics.histogram import ScoreHistogram
    from ood_seg.scores import energy

    options = [getattr(loss, "options", {}) for loss in model.energy_head.losses]
    temperature = next((o["temperature"] for o in options if "temperature" in o), 1.0)
    parts: list[ScoreHistogram] = []

    def visit(logits: Tensor, labels: Tensor) -> None:
        known, outliers = split_labels(labels)
        kinds = labels.new_full(labels.shape, IGNORE)
        kinds[known], kinds[outliers] = KNOWN, ANOMALY
        found = ScoreHistogram.from_scores(energy(logits, temperature), kinds)
        # Added up at once, so that memory does not grow with the number of scenes.
        parts[:] = [ScoreHistogram.merged([*parts, found])]

    visit_pasted_scenes(
        model,
        loader.dataset,
        visit,
        num_images=num_images,
        seed=seed,
        batch_size=loader.batch_size,
        num_workers=loader.num_workers,
        title="Energies",
    )
    return parts[0]


def margins_of(model: dict) -> tuple[float, float] | None:
    """Margins of the first energy loss in a model's config, or None."""
    for loss in (model.get("energy_head") or {}).get("losses") or ():
        if "margin_in" in loss and "margin_out" in loss:
            return loss["margin_in"], loss["margin_out"]
    return None


def display_bins(histogram: ScoreHistogram, number: int = 80):
    """The histogram over equal bins for a picture: edges `(B + 1,)` and two counts `(B,)`."""
    import numpy as np

    values = histogram.lower().astype(float)
    edges = np.linspace(values.min(), values.max() + 1e-6, number + 1)
    counts = [
        np.histogram(values, edges, weights=weights)[0]
        for weights in (histogram.known, histogram.anomalous)
    ]
    return edges, counts


def print_tables(
    known: EnergySummary, outliers: EnergySummary, margins: dict[str, Margins], *, note: str
) -> None:
    """Print the energies and the margins with the share of pixels that each would move."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    energies = Table("pixels", title="Energy under the pre-trained model")
    for title in ("number", "mean", "5 %", "25 %", "50 %", "75 %", "95 %"):
        energies.add_column(title, justify="right")
    for name, row in (("known", known), ("outlier", outliers)):
        values = (row.mean, *row.quantiles)
        energies.add_row(name, str(row.count), *(f"{value:.2f}" for value in values))
    console.print(energies)
    table = Table("margins", title="Margins")
    for title in ("m_in", "m_out", "known pixels moved", "outlier pixels moved"):
        table.add_column(title, justify="right")
    for name, pair in margins.items():
        shares = (f"{100 * share:.1f} %" for share in (pair.active_known, pair.active_outliers))
        table.add_row(name, f"{pair.margin_in:.2f}", f"{pair.margin_out:.2f}", *shares)
    console.print(table)
    console.print(note, markup=False, highlight=False, soft_wrap=True)
