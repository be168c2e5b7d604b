"""A trained model as a `Segmentor`: labels and anomaly scores from any config of this package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn

from ood_seg import compat
from ood_seg.apis.classes import class_names_and_colours
from ood_seg.apis.pipelines import split_test_pipeline
from ood_seg.calibration import Calibration
from ood_seg.checkpoints import (
    check_matches,
    load_checkpoint,
    secure_loading,
    weights_of,
)
from ood_seg.config_files import resolve_config
from ood_seg.io.provenance import file_sha256
from ood_seg.perception.core.regions import Region
from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor, predict_by_size
from ood_seg.smoothing import GaussianSmoothing


class AnomalyInferencer(Segmentor):
    """Labels, anomaly scores and unknown objects of images, from any config of this package.

    ```
    images of one size -> the config's test pipeline -> model -> labels (H,W), anomaly (H,W)
                              anomaly -> calibration, if any -> probability (H,W)
    ```

    Pictures, folders and videos come in, and results go out, as with any `Segmentor`.

    Args:
        model: a config, its path, or the name of a shipped one. A config file is Python code
            and is executed.
        weights: checkpoint file; by default the config's `load_from`.
        device: `cuda`, `cuda:1`, `cpu`, ...; by default `cuda` where there is one, else `cpu`.
        calibration: a calibration of this model's score, or its file. A warning tells where it
            was made with another checkpoint.
        operating_point: name of the calibration's point at which pixels are flagged, by default
            its first one; or a number, the score from which they are.
        min_area: smaller groups of flagged pixels are no instances; None: the smallest that counted
            in the calibration, or 50.
        region: where pixels count, see `perception.regions`.
        smoothing: keyword arguments of `GaussianSmoothing`, instead of the config's; False for
            none.

    Attributes:
        calibration: the `Calibration`, or None.
        device: that the model is on.
        model: the network.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: no checkpoint given, one that is unsafe, damaged, not finite or of another
            model; a model without anomaly scores; a device that is not there; a calibration that
            is damaged, of another score, or without the operating point; or a bad region.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        calibration: str | Path | Calibration | None = None,
        operating_point: str | float | None = None,
        *,
        min_area: int | None = None,
        region: str | Sequence[str] | np.ndarray | Region | None = None,
        smoothing: Mapping[str, Any] | bool | None = None,
    ) -> None:
        secure_loading()
        compat.apply()
        # A config in memory, or one with other `custom_imports`, has not registered the package.
        import ood_seg.register  # noqa: F401

        cfg = model if isinstance(model, Config) else Config.fromfile(resolve_config(model))
        init_default_scope(cfg.get("default_scope") or "mmseg")
        weights = weights or cfg.get("load_from")
        if not weights:
            raise ValueError("no weights: the config has no `load_from`; give a checkpoint file")
        self.device = choose_device(device)
        checkpoint = load_checkpoint(weights)
        self.model = _build(cfg, checkpoint, origin=str(weights)).to(self.device).eval()
        names, colours = class_names_and_colours(cfg, checkpoint, count=self.model.num_classes)
        self._load, rest = split_test_pipeline(cfg)
        self._prepare = Compose(rest)
        self.calibration = _checked_calibration(calibration, self.model, weights)
        points = self.calibration.operating_points if self.calibration else {}
        smallest = self.calibration.min_area if self.calibration else None
        super().__init__(
            Palette(names, tuple(colours)),
            type(self.model.energy_head.score).__name__,
            {name: point.threshold for name, point in points.items()},
            operating_point=operating_point,
            min_area=smallest if min_area is None else min_area,
            region=region,
        )
        if smoothing is not None:
            self._smooth(smoothing)

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of one size run as one batch.

        Raises:
            ValueError: an array is no such image.
        """
        return predict_by_size(images, self._predict_batch)

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Probability of an anomaly by the calibration, `(H, W)`; None without one."""
        return None if self.calibration is None else self.calibration.probability(scores)

    def _predict_batch(self, images: list[np.ndarray]) -> list[Prediction]:
        batch = pseudo_collate([self._prepare(self._as_loaded(image)) for image in images])
        # Not inference mode, in which scores of input gradients could not turn them on again.
        with torch.no_grad():
            samples = self.model.test_step(batch)
        predictions = []
        for sample in samples:
            labels = sample.pred_sem_seg.data[0].to(torch.uint8).cpu().numpy()
            anomaly = sample.pred_anomaly.data[0].float().cpu().numpy()
            predictions.append(Prediction(labels, anomaly, self.probability(anomaly)))
        return predictions

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
        if self.calibration is not None:
            warnings.warn(
                "the smoothing is not that of the config, with which the calibration was made: "
                "its probabilities and thresholds may not hold",
                stacklevel=3,
            )
        head = self.model.energy_head
        head.smoothing = None if smoothing is False else GaussianSmoothing(**smoothing)


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device to run on.

    Raises:
        ValueError: the name is no device, or this machine has none of that kind.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here: {reason}") from error
    return chosen


def _build(cfg: Config, checkpoint: dict[str, Any], *, origin: str) -> nn.Module:
    from mmseg.registry import MODELS

    settings = cfg.model.copy()
    # The teacher is of use in training alone, and would load a second checkpoint.
    settings.pop("distillation", None)
    model = revert_sync_batchnorm(MODELS.build(settings))
    if not hasattr(model, "energy_head"):
        raise ValueError(
            f"{type(model).__name__} gives no anomaly map; set model.type = 'OODEncoderDecoder'"
        )
    model.keep_logits = False  # nothing here reads them
    weights = weights_of(checkpoint, origin=origin)
    _check_finite(weights, origin)
    allowed = cfg.get("allowed_key_mismatch", ())
    check_matches(model, weights, origin=origin, allowed=allowed)
    own, weights = model.state_dict(), model.with_extra_channels(weights)
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    return model


def _check_finite(weights: Mapping[str, Any], origin: str) -> None:
    for name, value in weights.items():
        if isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
            raise ValueError(
                f"{origin}: {name} holds NaN or infinite values: its training diverged, or the "
                "file is damaged; take an earlier checkpoint"
            )


def _checked_calibration(
    calibration: str | Path | Calibration | None, model: nn.Module, weights: str | Path
) -> Calibration | None:
    """The calibration, loaded, of this model's score."""
    if calibration is None:
        return None
    if not isinstance(calibration, Calibration):
        calibration = Calibration.load(calibration)
    calibration.check_score(type(model.energy_head.score).__name__)
    expected = calibration.checkpoint_sha256
    if expected is not None and file_sha256(Path(weights).expanduser()) != expected:
        warnings.warn(
            f"the calibration was made with another checkpoint than {weights} (SHA-256 "
            f"{expected[:12]}...): its probabilities and thresholds may not hold",
            stacklevel=3,
        )
    return calibration
