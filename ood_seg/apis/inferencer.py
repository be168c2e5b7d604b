"""A trained model as a `Segmentor`: labels and anomaly scores from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from ood_seg.apis.calibrations import chosen_calibration
from ood_seg.apis.pipelines import split_test_pipeline
from ood_seg.calibration import Calibration
from ood_seg.io.map_origins import MapOrigin
from ood_seg.io.provenance import checkpoint_sha256
from ood_seg.labels import label_type
from ood_seg.models.loading import load_model
from ood_seg.perception.core.errors import error_text
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.batches import predict_by_size
from ood_seg.perception.run.segmentor import Segmentor, refined_name
from ood_seg.refinement import Refinement
from ood_seg.smoothing import GaussianSmoothing

if TYPE_CHECKING:
    pass


class AnomalyInferencer(Segmentor):
    """Labels, anomaly scores and unknown objects of images, from a config and a checkpoint.

    ```
    images of one size -> the config's test pipeline -> model -> labels (H,W), anomaly (H,W)
                              anomaly -> calibration, if any -> probability (H,W)
    ```

    Images, folders and videos are read, and results written, as with any `Segmentor`.

    Args:
        model: a config, its path, or the name of a shipped one. A config file is Python code
            and is executed.
        weights: checkpoint file; by default the config's `load_from`. See `models.load_model`.
        device: `cuda`, `cuda:1`, `cpu`, ...; by default `cuda` if available, else `cpu`.
        calibration: a calibration of this model's score and checkpoint, or its file; None: that
            beside the config, `NAME.calibration.json`, if it was made with this checkpoint and
            setup; False or `none`: none.
        operating_point: name of the calibration's point at which pixels are flagged, by default
            the first one; or a number, the lowest score that is flagged.
        min_area: pixels of the smallest connected group that is an instance; None: the smallest
            one that counted in the calibration, or 50.
        region: where pixels count, see `perception.core.regions`.
        smoothing: keyword arguments of `GaussianSmoothing`, instead of the config's; False for
            none.
        refinement: of the score maps, see `refinement.Refinement.of`. A refined score needs a
            calibration of its own.
        boundary_suppression: see `perception.core.decision.DecisionRule`.
        allow_other_model: accept a calibration of another checkpoint, with a warning.

    Attributes:
        calibration: the `Calibration`, or None.
        calibration_note: a line on where it comes from, or why there is none.
        device: the device of the model.
        model: the network.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: no checkpoint given, one that is unsafe, damaged, not finite or of another
            model; a model without anomaly scores; a device that is not available; a calibration
            that is damaged, of another score or checkpoint, or without the operating point; or a
            bad region.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        calibration: str | Path | Calibration | bool | None = None,
        operating_point: str | float | None = None,
        *,
        min_area: int | None = None,
        region: str | Sequence[str] | np.ndarray | Region | None = None,
        smoothing: Mapping[str, Any] | bool | None = None,
        refinement: Any = None,
        boundary_suppression: int = 0,
        allow_other_model: bool = False,
    ) -> None:
        # Before the model is loaded, which takes longer.
        refinement = None if refinement is None else Refinement.of(refinement).open()
        self.model = load_model(model, weights, device)
        if not hasattr(self.model, "require_channels"):
            raise ValueError(
                f"{type(self.model).__name__} gives one score for each image, no map; use "
                "`ood-seg test` or `benchmark`"
            )
        self.model.require_channels(3)
        self.model.keep_logits = False  # nothing here reads them
        cfg, meta = self.model.cfg, self.model.dataset_meta
        self.device = next(self.model.parameters()).device
        self._label_type = getattr(torch, label_type(self.model.num_classes))
        self._load, rest = split_test_pipeline(cfg)
        self._prepare = Compose(rest)
        score = type(self.model.energy_head.score).__name__
        self.calibration, self.calibration_note = chosen_calibration(
            calibration,
            cfg,
            refined_name(score, refinement),
            own_smoothing=smoothing is None,
            allow_other_model=allow_other_model,
        )
        points = self.calibration.operating_points if self.calibration else {}
        smallest = self.calibration.min_area if self.calibration else None
        super().__init__(
            Palette(meta["classes"], tuple(meta["palette"])),
            score,
            {name: point.threshold for name, point in points.items()},
            operating_point=operating_point,
            min_area=smallest if min_area is None else min_area,
            region=region,
            refinement=refinement,
            boundary_suppression=boundary_suppression,
        )
        if smoothing is not None:
            self._smooth(smoothing)

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of one size run as one batch.

        Raises:
            ValueError: an array is no such image.
        """
        return predict_by_size(images, self._predict_batch)

    @property
    def model_name(self) -> str:
        """Name of the config without suffix."""
        return Path(self.model.cfg.filename or "").stem

    def map_origin(self) -> MapOrigin:
        """See `Segmentor.map_origin`."""
        cfg = self.model.cfg
        digest = checkpoint_sha256(cfg.load_from)
        steps = None if self.refinement is None else self.refinement.record()
        return MapOrigin(self.score_name, str(cfg.load_from), digest, cfg.filename, steps)

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Probability of an anomaly by the calibration, `(H, W)`; None without one."""
        return None if self.calibration is None else self.calibration.probability(scores)

    def calibration_facts(self) -> dict[str, Any] | None:
        """See `Segmentor.calibration_facts`."""
        return None if self.calibration is None else self.calibration.facts()

    def _predict_batch(self, images: list[np.ndarray]) -> list[Prediction]:
        batch = pseudo_collate([self._prepared(image) for image in images])
        # Not inference mode, in which scores of input gradients could not turn them on again.
        with torch.no_grad():
            samples = self.model.test_step(batch)
        predictions = []
        for sample in samples:
            labels = sample.pred_sem_seg.data[0].to(self._label_type).cpu().numpy()
            anomaly = sample.pred_anomaly.data[0].float().cpu().numpy()
            # A calibration of refined scores is applied to them, in `refined`.
            refined_later = self.refinement is not None
            probability = None if refined_later else self.probability(anomaly)
            predictions.append(Prediction(labels, anomaly, probability))
        return predictions

    def _prepared(self, image: np.ndarray) -> dict[str, Any]:
        """The image after the test pipeline; `cv2.error` has no size in its message."""
        try:
            return self._prepare(self._as_loaded(image))
        except cv2.error as error:
            raise ValueError(
                f"the test pipeline cannot prepare an image of {image.shape[0]}x{image.shape[1]} "
                f"(height x width): {error_text(error)}"
            ) from error

    def _as_loaded(self, image: np.ndarray) -> dict[str, Any]:
        """What the pipeline's loading transform would give."""
        size = image.shape[:2]
        pixels = image.astype(np.float32) if self._load.to_float32 else image
        return {"img": pixels, "img_path": None, "img_shape": size, "ori_shape": size}

    def _smooth(self, smoothing: Mapping[str, Any] | bool) -> None:
        """Replace the smoothing of the config."""
        if smoothing is True:
            raise ValueError(
                "smoothing: expected False or keyword arguments such as "
                "{'kernel_size': 7, 'sigma': 1.0}, got True"
            )
        head = self.model.energy_head
        head.smoothing = None if smoothing is False else GaussianSmoothing(**smoothing)
