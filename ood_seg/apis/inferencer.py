"""A trained model as a function from an image to labels and an anomaly map."""

from __future__ import annotations

import warnings
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
from ood_seg.apis.checkpoints import (
    check_matches,
    file_sha256,
    load_checkpoint,
    secure_loading,
    weights_of,
)
from ood_seg.apis.classes import class_names_and_colours
from ood_seg.apis.pipelines import split_test_pipeline
from ood_seg.calibration import Calibration
from ood_seg.labels import ANOMALY, KNOWN


class AnomalyInferencer:
    """Labels and anomaly scores of single images, from any config of this package.

    ```
    image or path -> the config's test pipeline -> model -> labels (H,W), anomaly (H,W)
                             anomaly -> calibration, if any -> probability (H,W), mask (H,W)
    ```

    Args:
        model: a config, its path, or the name of a shipped one. A config file is Python code
            and is executed.
        weights: checkpoint file; by default the config's `load_from`.
        device: `cuda`, `cuda:1`, `cpu`, ...; by default `cuda` where there is one, else `cpu`.
        calibration: a calibration of this model's score, or its file. A warning tells where it
            was made with another checkpoint.
        operating_point: name of the calibration's point at which pixels are flagged; by default
            its first one.

    Attributes:
        classes: name of each class.
        palette: RGB colour of each class.
        calibration: the `Calibration`, or None.
        operating_point: the `OperatingPoint` in use, or None.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: no checkpoint given, one that is unsafe, damaged or of another model; a model
            without anomaly scores; a device that is not there; a calibration that is damaged, of
            another score, or without the operating point.
    """

    def __init__(
        self,
        model: str | Path | Config,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        calibration: str | Path | Calibration | None = None,
        operating_point: str | None = None,
    ) -> None:
        if operating_point is not None and calibration is None:
            raise ValueError(f"operating point {operating_point!r} needs a calibration file")
        secure_loading()
        compat.apply()
        cfg = model if isinstance(model, Config) else _config_from_file(model)
        # Loading a file has executed `custom_imports`; a config made in memory has not.
        _register_all()
        init_default_scope(cfg.get("default_scope") or "mmseg")
        weights = weights or cfg.get("load_from")
        if not weights:
            raise ValueError("no weights: the config has no `load_from`; give a checkpoint file")
        self.device = choose_device(device)
        checkpoint = load_checkpoint(weights)
        self.model = _build(cfg, checkpoint, origin=str(weights)).to(self.device).eval()
        self.classes, self.palette = class_names_and_colours(
            cfg, checkpoint, count=self.model.num_classes
        )
        self._load, rest = split_test_pipeline(cfg)
        self._prepare = Compose(rest)
        self.calibration = _checked_calibration(calibration, self.model, weights)
        self.operating_point = self.calibration and self.calibration.point(operating_point)

    def read_image(self, path: str | Path) -> np.ndarray:
        """Read an image as the model's pipeline would, `(H, W, 3)` uint8 BGR.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is no complete image.
        """
        return self._load({"img_path": str(path)})["img"]

    def __call__(self, image: np.ndarray | str | Path) -> dict[str, np.ndarray]:
        """Predict one image.

        Args:
            image: path, or `(H, W, 3)` uint8 in BGR order as OpenCV reads it.

        Returns:
            `labels` `(H, W)` uint8, the most likely known class; `anomaly` `(H, W)` float32,
            higher means more anomalous. With a calibration also `probability` `(H, W)` float32
            of an anomaly, and `mask` `(H, W)` uint8, 1 where the operating point flags one.

        Raises:
            ValueError: an array of another kind, or a score that is not finite.
        """
        path = None if isinstance(image, np.ndarray) else str(image)
        pixels = image if path is None else self.read_image(path)
        _check_pixels(pixels)
        size = pixels.shape[:2]
        results = {"img": pixels, "img_path": path, "img_shape": size, "ori_shape": size}
        batch = pseudo_collate([self._prepare(results)])
        with torch.inference_mode():
            sample = self.model.test_step(batch)[0]
        anomaly = sample.pred_anomaly.data[0].float().cpu().numpy()
        if not np.isfinite(anomaly).all():
            count = int((~np.isfinite(anomaly)).sum())
            raise ValueError(f"{path or 'image'}: {count} anomaly scores are NaN or infinite")
        labels = sample.pred_sem_seg.data[0].to(torch.uint8).cpu().numpy()
        return {"labels": labels, "anomaly": anomaly, **self._judge(anomaly)}

    def _judge(self, anomaly: np.ndarray) -> dict[str, np.ndarray]:
        """What the calibration makes of the scores; nothing without one."""
        if self.calibration is None:
            return {}
        flagged = anomaly >= np.float32(self.operating_point.threshold)
        return {
            "probability": self.calibration.probability(anomaly),
            "mask": np.where(flagged, ANOMALY, KNOWN).astype(np.uint8),
        }


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


def _config_from_file(name: str | Path) -> Config:
    from ood_seg.commands.configs import resolve_config

    return Config.fromfile(resolve_config(name))


def _register_all() -> None:
    import ood_seg.register  # noqa: F401


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
    weights = weights_of(checkpoint, origin=origin)
    allowed = cfg.get("allowed_key_mismatch", ())
    check_matches(model, weights, origin=origin, allowed=allowed)
    own, weights = model.state_dict(), model.with_extra_channels(weights)
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    return model


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


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not np.issubdtype(pixels.dtype, np.number):
        raise ValueError(
            f"image: expected (H, W, 3) numbers in BGR order, got shape {pixels.shape} "
            f"of {pixels.dtype}"
        )
