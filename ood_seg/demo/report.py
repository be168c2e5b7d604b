"""The demo's result: one table and one figure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ood_seg.demo.layouts import ROAD_ANOMALY_VALUE
from ood_seg.demo.plan import METHODS, Method

if TYPE_CHECKING:
    from rich.table import Table

ANOMALY_SETS = {"road_anomaly": "Road Anomaly (drawn)", "fishyscapes": "Fishyscapes (drawn)"}
ANOMALY_METRICS = {"auroc": "AUROC", "ap": "AP", "fpr95": "FPR95"}
CLOSED_SET_METRIC = "cityscapes/mIoU"
# Scenes of each set that the figure shows; the first ones, so that nobody has chosen.
ROWS_PER_SET = 2
# Scores drawn darkest and brightest: half of the pixels are dark, and anomalies do not saturate.
_SHOWN_PERCENTILES = (50.0, 99.9)
_FIGURE_DPI, _STRIP_DPI = 100, 57


def table_rows(results: dict[str, dict[str, float]]) -> list[list[str]]:
    """The cells of the table, one row for each method; `results` by the methods' folders."""
    rows = []
    for method in METHODS:
        metrics = results[method.folder]
        keys = [f"{name}/anomaly/{key}" for name in ANOMALY_SETS for key in ANOMALY_METRICS]
        numbers = [f"{metrics[key]:.1f}" for key in (*keys, CLOSED_SET_METRIC)]
        rows.append([method.name, method.score_name, *numbers])
    return rows


def rich_table(rows: list[list[str]]) -> Table:
    """The table for a terminal of 80 columns."""
    from rich.box import SIMPLE_HEAVY
    from rich.table import Table

    table = Table(
        title="Drawn street scenes, in %",
        caption="Anomalies of kinds that are never pasted in training. Road: drawn Road Anomaly "
        "tree; Fishy: drawn Fishyscapes masks; mIoU: known classes.",
        box=SIMPLE_HEAVY,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("method", no_wrap=True)
    table.add_column("score", no_wrap=True)
    for title in ANOMALY_SETS.values():
        for metric in ANOMALY_METRICS.values():
            table.add_column(f"{title[:5].strip()}\n{metric}", justify="right")
    table.add_column("\nmIoU", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(rows: list[list[str]]) -> str:
    """The table as Markdown."""
    metrics = [
        f"{name} {metric}" for name in ANOMALY_SETS.values() for metric in ANOMALY_METRICS.values()
    ]
    head = ["method", "score", *metrics, "mIoU"]
    ruler = ["---", "---", *["---:"] * (len(head) - 2)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows)) + "\n"


def draw_figure(path: Path, data: Path, scores: dict[str, tuple[Path, Path]]) -> None:
    """Save the figure: image, ground truth, score before, score after, for a few scenes.

    Beside it goes `strip.png`, a small file with the last of these scenes of each set.

    Args:
        path: PNG to write.
        data: folder of the demo data.
        scores: by set name the folders of the score maps before and after.
    """
    from ood_seg.visualization import comparison_figure, save_figure

    rows = []
    for image, mask in (*_road_anomaly_pairs(data), *_fishyscapes_pairs(data)):
        name = "road_anomaly" if "road_anomaly" in image.parts else "fishyscapes"
        rows.append(_comparison_row(image, mask, scores[name], name))
    options = {
        "before": "energy before fine-tuning",
        "after": "energy after (balanced EnergyOE)",
        "before_range": _shown_range(row.before for row in rows),
        "after_range": _shown_range(row.after for row in rows),
    }
    save_figure(comparison_figure(rows, **options), path, dpi=_FIGURE_DPI)
    strip = comparison_figure(rows[ROWS_PER_SET - 1 :: ROWS_PER_SET], **options)
    _to_palette(save_figure(strip, path.with_name("strip.png"), dpi=_STRIP_DPI))


def _shown_range(maps: Iterable[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([scores.ravel() for scores in maps])
    low, high = np.percentile(values, _SHOWN_PERCENTILES)
    return float(low), float(high)


def _to_palette(path: Path) -> None:
    """Rewrite a picture with 256 colours, a third of its size."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _road_anomaly_pairs(data: Path) -> list[tuple[Path, Path]]:
    root = data / "road_anomaly"
    names = json.loads((root / "frame_list.json").read_text())[:ROWS_PER_SET]
    folders = [root / "frames" / f"{Path(name).stem}.labels" for name in names]
    images = [root / "frames" / name for name in names]
    return [
        (image, folder / "labels_semantic.png")
        for image, folder in zip(images, folders, strict=True)
    ]


def _fishyscapes_pairs(data: Path) -> list[tuple[Path, Path]]:
    root = data / "fishyscapes"
    names = [f"{index}.png" for index in range(ROWS_PER_SET)]
    return [(root / "images" / name, root / "labels_masks" / name) for name in names]


def _comparison_row(image: Path, mask: Path, folders: tuple[Path, Path], name: str):
    from PIL import Image

    from ood_seg.visualization import ComparisonRow

    truth = np.array(Image.open(mask))
    truth[truth == ROAD_ANOMALY_VALUE] = 1
    before, after = (np.load(folder / f"{image.stem}.npy") for folder in folders)
    picture = np.array(Image.open(image).convert("RGB"))
    return ComparisonRow(picture, truth, before, after, ANOMALY_SETS[name])


def score_folders(before: Method, after: Method, folder_of) -> dict[str, tuple[Path, Path]]:
    """By set name the folders of the score maps of two methods."""
    return {name: (folder_of(before, name), folder_of(after, name)) for name in ANOMALY_SETS}
