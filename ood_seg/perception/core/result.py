"""`AnomalyResult`: everything that was computed for one image, its overlay and its files."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ood_seg.io.files import write_bytes, write_image, write_text
from ood_seg.perception.core.overlay import blend_labels, draw_boxes, draw_edges, heat_map
from ood_seg.perception.core.types import Instance, Palette
from ood_seg.visualization import blend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "ood_seg.result/1"
# Kind of file -> ending of its name.
ENDINGS = {
    "overlay": "_overlay.png",
    "anomaly": "_anomaly.png",
    "labels": "_labels.png",
    "scores": "_scores.npy",
    "probability": "_probability.npy",
    "mask": "_mask.png",
    "json": ".json",
}
LAYERS = ("anomaly", "labels", "none")
_REMEDIES = {
    "mask": "give an operating point or a threshold",
    "probability": "give a calibration",
}

ScoreRange = tuple[float, float]


@dataclass(frozen=True, eq=False)
class AnomalyResult:
    """Labels, scores, decision and unknown objects of one image.

    In a notebook a result is displayed as its overlay.

    Attributes:
        name: as `Frame.name`.
        index: position in the source.
        stamp: seconds, as `Frame.stamp`.
        image: `(H, W, 3)` uint8 BGR.
        labels: `(H, W)` uint8, the most likely known class; uint16 for more than 254 classes.
        anomaly: `(H, W)` float32 score, higher means more anomalous.
        probability: `(H, W)` float32 of an anomaly; None without a calibration.
        mask: `(H, W)` uint8, 1 where a pixel is flagged; None without a threshold.
        instances: components of the mask of at least the minimum area, highest mean score first;
            with a tracker, its tracks (see `tracking`).
        threshold: on the score; None without an operating point.
        operating_point: name of the threshold; None if it was given as a number.
        region: boolean `(H, W)`, inside the region of interest; None for the whole image.
        palette: names and colours of the known classes.
        score_name: name of the score.
        latency: seconds by stage: `decode`, `predict`, `judge` (the decision) and `total`.
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
        """Return everything except the maps as JSON values; schema `ood_seg.result/1`.

        `flagged_share` and `max_score` refer to the pixels inside the region and are None where
        there are none; `flagged_share` is None without a threshold. Boxes are left, top, width,
        height.
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

    def overlay(
        self, *, layer: str = "anomaly", alpha: float = 0.5, limits: ScoreRange | None = None
    ) -> np.ndarray:
        """Return the image with a colour layer, the edges of the mask, and captioned boxes.

        A caption is the probability, or the mean score without a calibration, and the track
        number.

        Args:
            layer: `anomaly`, a heat map; `labels`, the colours of the classes; or `none`.
            alpha: weight of the layer, 0 (image only) to 1 (layer only).
            limits: scores shown darkest and brightest. By default the probability is shown from
                0 to 1; without one, the score from its 1st to its 99th percentile in this image.

        Returns:
            `(H, W, 3)` uint8 BGR, for OpenCV; `plot` returns RGB.

        Raises:
            ValueError: another layer, alpha outside 0..1, or limits that are not rising.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer: expected one of {', '.join(LAYERS)}, got {layer!r}")
        if layer == "labels":
            drawn = blend_labels(self.image, self.labels, self.palette, alpha)
        elif layer == "none":
            drawn = self.image.copy()
        elif limits is None and self.probability is not None:
            drawn = blend(self.image, heat_map(self.probability, (0.0, 1.0)), alpha)
        else:
            drawn = blend(self.image, heat_map(self.anomaly, limits), alpha)
        if self.mask is not None:
            draw_edges(drawn, self.mask)
        draw_boxes(drawn, self.instances)
        return drawn

    def plot(self, path: str | Path | None = None, **options: Any) -> np.ndarray:
        """Return the overlay in RGB, as plotting libraries expect it; optionally write it.

        Args:
            path: file to write, with the suffix of an image format.
            **options: see `overlay`.

        Returns:
            `(H, W, 3)` uint8 RGB.
        """
        drawn = self.overlay(**options)
        if path is not None:
            write_image(Path(path), drawn)
        return np.ascontiguousarray(drawn[..., ::-1])

    def figure(self, limits: ScoreRange | None = None) -> Figure:
        """Return a matplotlib figure of image, labels and heat map, with legend and colour bar.

        Args:
            limits: scores at the ends of the colour bar; by default the 1st and the 99th
                percentile of this image.
        """
        from ood_seg.visualization import prediction_figure

        low, high = limits or (None, None)
        return prediction_figure(
            self.image[..., ::-1],
            self.labels,
            self.anomaly,
            classes=self.palette.classes,
            palette=self.palette.colours,
            vmin=low,
            vmax=high,
        )

    def _repr_png_(self) -> bytes:
        """Return the overlay as PNG; notebooks display it."""
        return png_bytes(self.overlay())

    def save(
        self,
        folder: str | Path,
        kinds: str | Sequence[str] = ("overlay", "json"),
        *,
        limits: ScoreRange | None = None,
    ) -> list[Path]:
        """Write files named after the image; each write is atomic.

        Args:
            folder: names with a `/` give folders below it.
            kinds: one or several of

                overlay      NAME_overlay.png: image, heat map, mask edges, boxes
                anomaly      NAME_anomaly.png: figure of image, labels and heat map (matplotlib)
                labels       NAME_labels.png: class numbers, 8 bits; 16 for more than 254 classes
                scores       NAME_scores.npy: float32
                probability  NAME_probability.npy: float32
                mask         NAME_mask.png: 255 where flagged, else 0
                json         NAME.json: `to_dict`
            limits: scores at the ends of the colours of overlay and figure; see `overlay`.

        Returns:
            The files, in the order of `kinds`.

        Raises:
            ValueError: an unknown kind; or `mask` without a threshold, `probability` without a
                calibration. Nothing is written then.
        """
        kinds = [kinds] if isinstance(kinds, str) else kinds
        for kind in kinds:
            if kind not in ENDINGS:
                raise ValueError(f"kinds: expected one of {', '.join(ENDINGS)}, got {kind!r}")
            if kind in _REMEDIES and getattr(self, kind) is None:
                raise ValueError(f"{self.name}: no {kind} to save; {_REMEDIES[kind]}")
        paths = [Path(folder) / f"{self.name}{ENDINGS[kind]}" for kind in kinds]
        for kind, path in zip(kinds, paths, strict=True):
            self._write(kind, path, limits)
        return paths

    def _write(self, kind: str, path: Path, limits: ScoreRange | None) -> None:
        if kind == "overlay":
            write_image(path, self.overlay(limits=limits))
        elif kind == "anomaly":
            from ood_seg.visualization import save_figure

            save_figure(self.figure(limits), path)
        elif kind == "labels":
            write_image(path, self.labels)
        elif kind == "mask" and self.mask is not None:
            write_image(path, self.mask * np.uint8(255))
        elif kind == "json":
            write_text(path, json.dumps(self.to_dict(), allow_nan=False) + "\n")
        else:
            values = self.anomaly if kind == "scores" else np.asarray(self.probability)
            write_bytes(path, npy_bytes(values))


def npy_bytes(values: np.ndarray) -> bytes:
    """Return an array as the content of a `.npy` file."""
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def png_bytes(image: np.ndarray) -> bytes:
    """Return `(H, W)` or `(H, W, 3)` BGR, uint8 or uint16, as the content of a PNG file."""
    return cv2.imencode(".png", image)[1].tobytes()


def _instance_values(instance: Instance) -> dict[str, Any]:
    names = ("area", "mean_score", "max_score", "probability", "track")
    values = {name: getattr(instance, name) for name in names}
    return {"box": list(instance.box), "contour": instance.contour.tolist(), **values}
