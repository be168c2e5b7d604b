"""An exported model as a `Segmentor`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.deploy.model_card import ModelCard
from ood_seg.io.map_origins import MapOrigin
from ood_seg.labels import label_type
from ood_seg.perception.core.errors import error_text
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.batches import predict_by_size
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.runtimes import Signature, TensorType, open_runtime

_CALIBRATED = ("labels", "score", "anomaly")  # as `Prediction` orders them


class OnnxAnomalySegmentor(Segmentor):
    """A model of `ood-seg export-onnx`; the file contains all facts about it.

    ```
    images (H,W,3) BGR -> batches of one size -> graph: resize, network, score, calibration
                                               -> labels, anomaly, probability (H,W)
    ```

    Args:
        path: the `.onnx` file.
        runtime: `onnxruntime` or `openvino`.
        device: `cpu`, `cuda`, `cuda:1`, `tensorrt`; for OpenVINO, its own names. None: CUDA if
            ONNX Runtime has it, else the CPU.
        operating_point: see `Segmentor`; the names are those of the file.
        min_area: see `Segmentor`; None: that of the calibration, or 50.
        region: see `Segmentor`.
        refinement: see `Segmentor`. The calibration in the file is that of unrefined scores, so
            that it is not used, with a warning.
        boundary_suppression: see `Segmentor`.
        threads: number of CPU threads; None: chosen by the runtime.
        calibrated: use the calibration in the file; False: raw scores alone.

    Attributes:
        card: the `ModelCard`.
        calibration_note: a line on where the calibration comes from, or why there is none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of another program, or of a newer schema; its graph is not
            the one that its metadata describe; or an argument is invalid.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str = "onnxruntime",
        device: str | None = None,
        operating_point: str | float | None = None,
        min_area: int | None = None,
        region: str | Sequence[str] | np.ndarray | Region | None = None,
        refinement: Any = None,
        boundary_suppression: int = 0,
        threads: int | None = None,
        calibrated: bool = True,
    ) -> None:
        self.path = Path(path).expanduser()
        self._run = open_runtime(self.path, runtime, device=device, threads=threads)
        signature = self._run.signature
        self.card = card = ModelCard.from_properties(signature.properties, str(self.path))
        _check_graph(signature, card, str(self.path))
        self._calibrated = calibrated and refinement is None
        self.calibration_note = _calibration_note(card, calibrated=self._calibrated)
        super().__init__(
            Palette(card.classes, card.palette),
            card.score,
            card.thresholds if self._calibrated else {},
            operating_point=operating_point,
            min_area=card.min_area if min_area is None else min_area,
            region=region,
            refinement=refinement,
            boundary_suppression=boundary_suppression,
        )
        if calibrated and self.refinement is not None and card.calibration is not None:
            warnings.warn(
                f"{self.path}: its calibration is for the score {card.score!r}, but the scores are "
                f"{self.score_name!r}: no probability, and no operating point by name; give the "
                "threshold as a number, from `ood-seg calibrate` on refined maps",
                stacklevel=2,
            )

    @property
    def model_name(self) -> str:
        """Name of the file without suffix."""
        return self.path.stem

    def map_origin(self) -> MapOrigin:
        """See `Segmentor.map_origin`."""
        card = self.card
        steps = None if self.refinement is None else self.refinement.record()
        return MapOrigin(
            self.score_name, card.checkpoint, card.checkpoint_sha256, card.config, steps
        )

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of equal size run as one batch.

        Raises:
            ValueError: an array is not such an image, or the runtime cannot run the graph on it.
        """
        return predict_by_size(images, self._predict_batch)

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Probability of an anomaly by the calibration, `(H, W)`; None without one."""
        return self.card.probability(scores) if self._calibrated else None

    def calibration_facts(self) -> dict[str, Any] | None:
        """See `Segmentor.calibration_facts`."""
        return self.card.calibration if self._calibrated else None

    def _predict_batch(self, images: list[np.ndarray]) -> list[Prediction]:
        batch = np.stack(images)
        if self.card.colour == "rgb":
            batch = batch[..., ::-1]
        if self.card.layout == "nchw":
            batch = batch.transpose(0, 3, 1, 2)
        size = images[0].shape[:2]
        _check_scaled(self.card, *size)
        try:
            outputs = self._run(np.ascontiguousarray(batch, dtype=self.card.input_type))
        except Exception as error:  # the errors of the runtimes have no common base class
            raise ValueError(
                f"{self.path} cannot be run on an image of {size[0]}x{size[1]} (height x width): "
                f"{error_text(error)}"
            ) from error
        names = ("labels", "anomaly") if self.card.calibration is None else _CALIBRATED
        maps = [outputs[name] for name in names]
        for name, values in zip(names, maps, strict=True):
            if values.shape != (len(images), *size):
                raise ValueError(
                    f"{self.path}: {name}: expected the shape {(len(images), *size)}, got "
                    f"{values.shape}; export the model again"
                )
        count = len(self.card.classes)
        if int(maps[0].max()) >= count:
            raise ValueError(f"{self.path}: labels: expected 0..{count - 1}, got {maps[0].max()}")
        if not self._calibrated:
            maps = maps[:2]
        return [Prediction(*parts) for parts in zip(*maps, strict=True)]


def _calibration_note(card: ModelCard, *, calibrated: bool) -> str:
    if not (card.calibration or card.thresholds):
        return "no calibration in the exported model; `ood-seg export-onnx --calibration FILE`"
    if not calibrated:
        return "the calibration in the exported model is not used"
    made_on = f", made on {card.calibration['data_set']}" if card.calibration else ""
    return f"calibration: that in the exported model{made_on}"


def _check_scaled(card: ModelCard, height: int, width: int) -> None:
    """Raise a ValueError for an image of which the network would see no row or no column."""
    if card.size["kind"] != "keep_ratio":
        return
    sides, rule = (height, width), (card.size["height"], card.size["width"])
    scale = min(max(rule) / max(sides), min(rule) / min(sides))
    if min(sides) * scale < 0.5:
        raise ValueError(
            f"an image of {height}x{width} (height x width) is too thin: scaled to the network's "
            f"{rule[0]}x{rule[1]} it has a side of 0 pixels"
        )


def _check_graph(signature: Signature, card: ModelCard, origin: str) -> None:
    """Raise a ValueError unless the graph has the input and the outputs of the metadata."""
    if len(signature.inputs) != 1:
        raise ValueError(f"{origin}: expected a graph with one input, got {len(signature.inputs)}")
    wanted = {name: TensorType("float32", 3) for name in card.outputs}
    wanted["labels"] = TensorType(label_type(len(card.classes)), 3)
    if "logits" in wanted:
        wanted["logits"] = TensorType("float32", 4)
    wanted["input"] = TensorType(card.input_type, 4)
    found = {**signature.outputs, "input": next(iter(signature.inputs.values()))}
    for name, expected in wanted.items():
        got = found.get(name)
        if got is None or got.kind != expected.kind or got.rank not in (0, expected.rank):
            text = "none" if got is None else f"{got.kind} of {got.rank} axes"
            raise ValueError(
                f"{origin}: {name}: expected {expected.kind} of {expected.rank} axes, as its "
                f"metadata state, got {text}; export the model again"
            )
