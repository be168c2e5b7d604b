"""The demo's result: one table and one figure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ood_seg.demo.data import ROAD_ANOMALY_VALUE
from ood_seg.demo.plan import METHODS
from ood_seg.metrics import pixel_metrics
from ood_seg.reports.tables import Table
from ood_seg.visualization import ComparisonRow, comparison_figure, save_figure

if TYPE_CHECKING:
    from rich.table import Table as RichTable

ANOMALY_SETS = {"road_anomaly": "Road Anomaly (drawn)", "fishyscapes": "Fishyscapes (drawn)"}
ANOMALY_METRICS = {"auroc": "AUROC", "ap": "AP", "fpr95": "FPR95"}
CLOSED_SET_METRIC = "cityscapes/mIoU"
# Scenes of each dataset that the figure shows: the first ones, so that nobody has chosen.
ROWS_PER_SET = 2
# Scores drawn darkest and brightest: half of the pixels are dark, and anomalies do not saturate.
_SHOWN_PERCENTILES = (50.0, 99.9)
_FIGURE_DPI, _STRIP_DPI = 100, 57


def results_table(results: dict[str, dict[str, float]]) -> Table:
    """The table, one row for each method; `results` in percent by the methods' folders."""
    keys = [f"{name}/anomaly/{key}" for name in ANOMALY_SETS for key in ANOMALY_METRICS]
    rows = []
    for method in METHODS:
        numbers = (results[method.folder][key] for key in (*keys, CLOSED_SET_METRIC))
        rows.append([method.name, method.score_name, *(f"{number:.1f}" for number in numbers)])
    titles = [f"{name}\n{key}" for name in ("Road", "Fishy") for key in ANOMALY_METRICS.values()]
    return Table(
        caption="",
        header=["method", "score", *titles, "mIoU"],
        rows=rows,
        text_columns=("score",),
        note="Drawn street scenes, in percent; anomalies of kinds that are never pasted in "
        "training. Road: drawn Road Anomaly; Fishy: drawn Fishyscapes; mIoU: known classes.",
    )


def terminal_table(table: Table) -> RichTable:
    """The table for a terminal of 80 columns."""
    from rich.box import SIMPLE_HEAVY

    return table.to_rich(box=SIMPLE_HEAVY, pad_edge=False, collapse_padding=True)


def draw_figure(path: Path, data: Path, before: Path, after: Path) -> None:
    """Save the figure: image, ground truth, both scores and the decision, for a few scenes.

    The decision is that of the score after, at the threshold with the best F1 of its dataset.
    Beside the figure goes `strip.png`, a small file with the last of these scenes of each dataset.

    Args:
        path: PNG to write.
        data: folder of the demo data.
        before, after: folders of the two tests, which hold `scores/SET/IMAGE.npy`.
    """
    rows = []
    for name, title in ANOMALY_SETS.items():
        scenes = [
            _scene(image, mask, *(folder / "scores" / name for folder in (before, after)))
            for image, mask in _pairs(data / name)
        ]
        truths = np.concatenate([scene.ground_truth.ravel() for scene in scenes])
        scores = np.concatenate([scene.after.ravel() for scene in scenes])
        threshold = pixel_metrics(scores, truths, best_f1=True)["best_f1_threshold"]
        for scene in scenes[:ROWS_PER_SET]:
            low, high = np.percentile([scene.before, scene.after], _SHOWN_PERCENTILES)
            rows.append(
                dataclasses.replace(scene, name=title, score_range=(low, high), threshold=threshold)
            )
    titles = {
        "before": "energy before fine-tuning",
        "after": "energy after (in a branch)",
        "decision": "after, at the threshold of the best F1",
    }
    save_figure(comparison_figure(rows, **titles), path, dpi=_FIGURE_DPI)
    strip = comparison_figure(rows[ROWS_PER_SET - 1 :: ROWS_PER_SET], **titles)
    _reduce_colours(save_figure(strip, path.with_name("strip.png"), dpi=_STRIP_DPI))


def _reduce_colours(path: Path) -> None:
    """Rewrite an image with 256 colours, in a third of its bytes."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _pairs(root: Path) -> Iterator[tuple[Path, Path]]:
    """Images and masks of a drawn anomaly dataset."""
    if root.name == "fishyscapes":
        for index in range(len(list((root / "images").iterdir()))):
            yield root / f"images/{index}.png", root / f"labels_masks/{index}.png"
        return
    for name in json.loads((root / "frame_list.json").read_text()):
        image = root / "frames" / name
        yield image, image.with_suffix(".labels") / "labels_semantic.png"


def _scene(image: Path, mask: Path, before: Path, after: Path) -> ComparisonRow:
    truth = np.array(Image.open(mask))
    truth[truth == ROAD_ANOMALY_VALUE] = 1
    scores = (np.load(folder / f"{image.stem}.npy") for folder in (before, after))
    return ComparisonRow(np.array(Image.open(image).convert("RGB")), truth, *scores)
