"""`AnomalyResult`: all that is known of one image, and its files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.io.files import write_bytes, write_image, write_text
from ood_seg.perception.core.overlay import overlay
from ood_seg.perception.core.types import Instance, Palette

SCHEMA = "ood_seg.result/1"
# Kind -> ending of its file.
ENDINGS = {
    "overlay": "_overlay.png",
    "anomaly": "_anomaly.png",
    "labels": "_labels.png",
    "scores": "_scores.npy",
    "probability": "_probability.npy",
    "mask": "_mask.png",
    "json": ".json",
}

ScoreRange = tuple[float, float]


@dataclass(frozen=True, eq=False)
class AnomalyResult:
    """Labels, scores, decision and unknown objects of one image.

    Attributes:
        name: as `Frame.name`.
        index: position in the source.
        stamp: seconds, as `Frame.stamp`.
        image: `(H, W, 3)` uint8 BGR.
        labels: `(H, W)` uint8, the most likely known class.
        anomaly: `(H, W)` float32 score, higher means more anomalous.
        probability: `(H, W)` float32 of an anomaly; None without a calibration.
        mask: `(H, W)` uint8, 1 where a pixel is flagged; None without a threshold.
        instances: groups of flagged pixels of at least the minimum area, highest mean score
            first; with a tracker what it makes of them, see `tracking`.
        threshold: on the score; None without an operating point.
        operating_point: name of the threshold; None for a bare number.
        region: boolean `(H, W)`, inside the region of interest; None for the whole image.
        palette: names and colours of the known classes.
        score_name: name of the score.
        latency: seconds by stage; of a stream `decode`, `predict`, `judge` and `total`.
    """

    name: str
    index: int
    stamp: float | None
    image: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    anomaly: np.ndarray = field(repr=False)
    probability: np.ndarray | None = field(repr=False)
    mask: np.ndarray | None = field(repr=False)
    instances: tuple[Instance, ...] = field(repr=False)
    threshold: float | None
    operating_point: str | None
    region: np.ndarray | None = field(repr=False)
    palette: Palette = field(repr=False)
    score_name: str
    latency: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, as JSON values; schema `ood_seg.result/1`.

        `flagged_share` and `max_score` are of the pixels inside the region, None where there are
        none; `flagged_share` is None without a threshold. Boxes are left, top, width, height.
        """
        inside = ... if self.region is None else self.region
        scores = self.anomaly[inside]
        flagged = None if self.mask is None or not scores.size else float(self.mask[inside].mean())
        return {
            "schema": SCHEMA,
            "name": self.name,
            "index": self.index,
            "stamp": self.stamp,
            "size": list(self.anomaly.shape),
            "score": self.score_name,
            "operating_point": self.operating_point,
            "threshold": self.threshold,
            "flagged_share": flagged,
            "max_score": float(scores.max()) if scores.size else None,
            "instances": [_instance_values(instance) for instance in self.instances],
            "latency": dict(self.latency),
        }

    def plot(self, path: str | Path | None = None, **options: Any) -> np.ndarray:
        """The picture of `overlay`, which takes the options; with a path also written there.

        Returns:
            `(H, W, 3)` uint8 BGR.
        """
        picture = overlay(self, **options)
        if path is not None:
            write_image(Path(path), picture)
        return picture

    def save(
        self,
        folder: str | Path,
        kinds: str | Sequence[str] = ("overlay", "json"),
        *,
        limits: ScoreRange | None = None,
    ) -> list[Path]:
        """Write files that are called after the image; each appears complete or not at all.

        Args:
            folder: the name's own folders are made below it.
            kinds: one or several of

                overlay      NAME_overlay.png: image, heat map, mask edges, boxes
                anomaly      NAME_anomaly.png: figure of image, labels and heat map (matplotlib)
                labels       NAME_labels.png: number of the class, 8 bit
                scores       NAME_scores.npy: float32
                probability  NAME_probability.npy: float32
                mask         NAME_mask.png: 255 where flagged, else 0
                json         NAME.json: `to_dict`
            limits: scores at both ends of the colours of overlay and figure; see `overlay`.

        Returns:
            The files, in the order of `kinds`.

        Raises:
            ValueError: an unknown kind; or `mask` without a threshold, `probability` without a
                calibration. Nothing is written then.
        """
        kinds = [kinds] if isinstance(kinds, str) else kinds
        for kind in kinds:
            if kind not in ENDINGS:
                raise ValueError(f"kinds: there is no {kind!r}; known are {', '.join(ENDINGS)}")
            if kind in _NEEDS and getattr(self, kind) is None:
                raise ValueError(f"{self.name}: no {kind} to save; {_NEEDS[kind]}")
        paths = [Path(folder) / f"{self.name}{ENDINGS[kind]}" for kind in kinds]
        for kind, path in zip(kinds, paths, strict=True):
            _WRITERS[kind](self, path, limits)
        return paths


def _instance_values(instance: Instance) -> dict[str, Any]:
    names = ("area", "mean_score", "max_score", "probability", "track")
    values = {name: getattr(instance, name) for name in names}
    return {"box": list(instance.box), "contour": instance.contour.tolist(), **values}


def _save_array(path: Path, values: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, values)
    write_bytes(path, content.getvalue())


def _save_json(result: AnomalyResult, path: Path, _limits: ScoreRange | None) -> None:
    write_text(path, json.dumps(result.to_dict(), allow_nan=False) + "\n")


def _save_figure(result: AnomalyResult, path: Path, limits: ScoreRange | None) -> None:
    """Image, labels and heat map in one figure; needs matplotlib."""
    from ood_seg.visualization import prediction_figure, save_figure

    low, high = limits or (None, None)
    figure = prediction_figure(
        result.image[..., ::-1],
        result.labels,
        result.anomaly,
        classes=result.palette.classes,
        palette=result.palette.colours,
        vmin=low,
        vmax=high,
    )
    save_figure(figure, path)


_NEEDS = {
    "mask": "give an operating point or a threshold",
    "probability": "give a calibration",
}
_WRITERS: dict[str, Callable[[AnomalyResult, Path, ScoreRange | None], Any]] = {
    "overlay": lambda result, path, limits: result.plot(path, limits=limits),
    "anomaly": _save_figure,
    "labels": lambda result, path, _: write_image(path, result.labels),
    "scores": lambda result, path, _: _save_array(path, result.anomaly),
    "probability": lambda result, path, _: _save_array(path, result.probability),
    "mask": lambda result, path, _: write_image(path, result.mask * np.uint8(255)),
    "json": _save_json,
}
