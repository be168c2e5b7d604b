"""An exported model as a `Segmentor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ood_seg.deploy.model_card import ModelCard
from ood_seg.deploy.runtimes import open_runtime
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor, predict_by_size


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
        threads: number of CPU threads; None: chosen by the runtime.

    Attributes:
        card: the `ModelCard`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, of another program, or of a newer schema; or an argument
            is invalid.
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
        threads: int | None = None,
    ) -> None:
        self.path = Path(path).expanduser()
        self._run = open_runtime(self.path, runtime, device=device, threads=threads)
        self.card = card = ModelCard.from_properties(self._run.properties, str(self.path))
        super().__init__(
            Palette(card.classes, card.palette),
            card.score,
            card.thresholds,
            operating_point=operating_point,
            min_area=card.min_area if min_area is None else min_area,
            region=region,
        )

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of equal size run as one batch.

        Raises:
            ValueError: an array is not such an image.
        """
        return predict_by_size(images, self._predict_batch)

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Probability of an anomaly by the calibration, `(H, W)`; None without one."""
        return self.card.probability(scores)

    def _predict_batch(self, images: list[np.ndarray]) -> list[Prediction]:
        batch = np.stack(images)
        if self.card.colour == "rgb":
            batch = batch[..., ::-1]
        if self.card.layout == "nchw":
            batch = batch.transpose(0, 3, 1, 2)
        outputs = self._run(np.ascontiguousarray(batch, dtype=self.card.input_type))
        labels, anomaly = outputs["labels"], outputs["anomaly"]
        if self.card.calibration is None:
            return [Prediction(*maps) for maps in zip(labels, anomaly, strict=True)]
        return [Prediction(*maps) for maps in zip(labels, outputs["score"], anomaly, strict=True)]
