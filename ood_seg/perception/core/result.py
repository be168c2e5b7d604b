"""`AnomalyResult`: everything that was computed for one image, its overlay and its files."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ood_seg.io.files import write_bytes, write_image, write_text
from ood_seg.perception.core.overlay import DEFAULT_ALPHA, DEFAULT_STYLE, drawn_overlay
from ood_seg.perception.core.types import Instance, Palette

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
# Styles by the names that they had as layers.
_FORMER_LAYERS = {"anomaly": "heat", "labels": "classes", "none": "decision"}
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
        instances: objects of the mask of at least the minimum area, highest mean score first;
            with a tracker, its tracks (see `tracking`).
        threshold: on the score; None without an operating point.
        operating_point: name of the threshold; None if it was given as a number.
        region: boolean `(H, W)`, inside the region of interest; None for the whole image.
        palette: names and colours of the known classes.
        score_name: name of the score.
        latency: seconds by stage: `decode`, `predict`, `judge` (the decision) and `total`.
        model: name of the model, for people; empty if it is not known.
        threshold_probability: of an anomaly, at the threshold; None without a calibration.
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
    model: str = ""
    threshold_probability: float | None = None

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
            "threshold_probability": self.threshold_probability,
            "model": self.model,
            "flagged_share": flagged,
            "max_score": float(scores.max()) if scores.size else None,
            "instances": [_instance_values(instance) for instance in self.instances],
            "latency": dict(self.latency),
        }

    def overlay(
        self,
        style: str | None = None,
        *,
        layer: str | None = None,
        alpha: float = DEFAULT_ALPHA,
        limits: ScoreRange | None = None,
    ) -> np.ndarray:
        """Return the image with what was found in it, for people.

        All styles show the region as a line, the outline of the flagged pixels, a box with a label
        for each unknown object (its probability, or its mean score without a calibration, and its
        track), and a legend with threshold and model.

        Args:
            style: `decision`, flagged pixels tinted, the others as they are; `heat`, a heat map;
                `classes`, the colours of the classes; `side-by-side`, the image and the decision,
                twice as wide. By default the decision, or the heat map without a threshold.
            layer: deprecated: `anomaly` for heat, `labels` for classes, `none` for decision.
            alpha: weight of the colours, 0 (image only) to 1 (colours only).
            limits: scores at the ends of the heat map. By default the probability is shown from
                0 to 1; without one, the score from its 1st to its 99th percentile in this image.

        Returns:
            `(H, W, 3)` uint8 BGR, for OpenCV; `plot` returns RGB.

        Raises:
            ValueError: another style, alpha outside 0..1, or limits that are not rising.
        """
        if layer is not None:
            style = _style_of(layer)
        if style is None:
            style = DEFAULT_STYLE if self.mask is not None else "heat"
        return drawn_overlay(self, style, alpha, limits)

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
        style: str | None = None,
    ) -> list[Path]:
        """Write files named after the image; each write is atomic.

        Args:
            folder: names with a `/` give folders below it.
            kinds: one or several of

                overlay      NAME_overlay.png: see `overlay`
                anomaly      NAME_anomaly.png: figure of image, labels and heat map (matplotlib)
                labels       NAME_labels.png: class numbers, 8 bits; 16 for more than 254 classes
                scores       NAME_scores.npy: float32
                probability  NAME_probability.npy: float32
                mask         NAME_mask.png: 255 where flagged, else 0
                json         NAME.json: `to_dict`
            limits: scores at the ends of the colours of overlay and figure; see `overlay`.
            style: of the overlay.

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
            self._write(kind, path, limits, style)
        return paths

    def _write(self, kind: str, path: Path, limits: ScoreRange | None, style: str | None) -> None:
        if kind == "overlay":
            write_image(path, self.overlay(style=style, limits=limits))
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
    names = ("area", "mean_score", "max_score", "probability", "track", "kind")
    values = {name: getattr(instance, name) for name in names}
    return {"box": list(instance.box), "contour": instance.contour.tolist(), **values}


def _style_of(layer: str) -> str:
    """The style that a layer was renamed to."""
    if layer not in _FORMER_LAYERS:
        raise ValueError(f"layer: expected one of {', '.join(_FORMER_LAYERS)}, got {layer!r}")
    style = _FORMER_LAYERS[layer]
    message = f"overlay(layer={layer!r}) is now overlay(style={style!r})"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return style
