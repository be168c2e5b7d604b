"""Calibration of models on images that they are run on; many scores of a model from one pass.

images -> ScoreSource -> scores -> histograms ------------> calibrate -> with_false_alarms
                                `-> maps in a temporary folder ------------^
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ood_seg.apis.calibrations import setup_of
from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.calibration.curves import chosen_method
from ood_seg.comparison.calibration_images import Images, config_images
from ood_seg.comparison.model_scores import ModelScores
from ood_seg.comparison.sources import Scored
from ood_seg.config_files import load_config
from ood_seg.engine.runner import set_up_process
from ood_seg.io.json_files import plain
from ood_seg.io.provenance import checkpoint_sha256, git_commit
from ood_seg.labels import MIN_AREA
from ood_seg.metrics import ScoreHistogram
from ood_seg.models.loading import load_model

# Called with the number of images done, and of all.
OnImage = Callable[[int, int], object]


@dataclass(frozen=True)
class FitOptions:
    """Options of `calibrate` and `with_false_alarms`.

    Attributes:
        method: curve of the probability, see `calibration.curves.chosen_method`.
        points: names of the operating points; None: the default.
        assumed_prior: share of anomalous pixels to be expected in use; None: as in the images.
        min_area: smallest false alarm that counts, in pixels.
        seed: of the process, and of the halves on which the fit is tested.
        data_set: name of the images; None: their own.
        model: name of the model; None: that of its checkpoint file.
    """

    method: str | None = None
    points: Sequence[str] | None = None
    assumed_prior: float | None = None
    min_area: int = MIN_AREA
    seed: int = 0
    data_set: str | None = None
    model: str | None = None


def calibrate_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    images: Images | Callable[[Config], Images] | None = None,
    options: FitOptions | None = None,
    *,
    device: str | None = None,
    on_image: OnImage = lambda done, total: None,
) -> Calibration:
    """Run a model over images and calibrate its score on them, as `ood-seg calibrate CONFIG` does.

    Args:
        config: path of a file, name of a shipped config, or a config.
        checkpoint: file; None: the config's `load_from`.
        images: the images, or a function that returns those of a config; None: `config_images`.
        options: None: the defaults.
        device: see `load_model`.
        on_image: called after each image.

    Raises:
        FileNotFoundError: config, checkpoint or images do not exist.
        ValueError: a checkpoint that `load_model` refuses, an image that the model cannot score,
            or as `calibrate`.
    """
    options = options or FitOptions()
    cfg = _seeded(config, options)
    given: Any = config_images if images is None else images
    found: Images = given(cfg) if callable(given) else given
    model = load_model(cfg, checkpoint, device)
    if not hasattr(model, "require_channels"):
        raise ValueError(f"{type(model).__name__} gives one score for each image, no map")
    model.keep_logits = False
    source = _OwnScore(model)
    (calibration,) = _calibrated(source, {source.names[0]: model.cfg}, found, options, on_image)
    return calibration


def calibrate_scores(
    configs: Mapping[str, Config],
    images: Images,
    options: FitOptions | None = None,
    *,
    on_image: OnImage = lambda done, total: None,
) -> dict[str, Calibration]:
    """Calibrate several scores of one model from one pass.

    Args:
        configs: by name; they differ in the score alone.
        images: to run the model over.
        options: None: the defaults.
        on_image: called after each image.

    Raises:
        ValueError: a score that cannot be built or fails on an image, or as `calibrate`.
    """
    options = options or FitOptions()
    source = _shared_source(configs, options)
    made = _calibrated(source, configs, images, options, on_image)
    return dict(zip(configs, made, strict=True))


def scored_maps(
    configs: Mapping[str, Config], images: Images, *, on_image: OnImage = lambda done, total: None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Score maps of several scores of one model, image by image; arguments as above.

    Yields:
        Name of the score, scores `(H, W)` float32 and labels `(H, W)`: 0 known, 1 anomaly, 255.
    """
    for _, name, scores, labels in _maps(_shared_source(configs, FitOptions()), images, on_image):
        yield name, scores, labels


def _shared_source(configs: Mapping[str, Config], options: FitOptions) -> ModelScores:
    first = next(iter(configs.values()))
    model = load_model(_seeded(first, options), plain_score=True)
    source = ModelScores(model, {n: cfg.model.energy_head.score for n, cfg in configs.items()})
    for name, reason in source.failures.items():
        raise ValueError(f"{name}: {reason}")
    return source


class _OwnScore:
    """The score of a model, as it predicts it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.names = (type(model.energy_head.score).__name__,)

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        # Not inference mode, in which scores of input gradients could not turn them on again.
        with torch.no_grad():
            (sample,) = self.model.test_step(dict(batch))
        yield Scored(names[0], sample.pred_anomaly.data[0])


def _seeded(config: str | Path | Config, options: FitOptions) -> Config:
    cfg = load_config(config)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    cfg.randomness = {**(cfg.get("randomness") or {}), "seed": options.seed}
    set_up_process(cfg)
    return cfg


def _calibrated(
    source: Any,
    configs: Mapping[str, Config],
    images: Images,
    options: FitOptions,
    on_image: OnImage,
) -> list[Calibration]:
    """The calibrations of the scores of a source, in the order of the configs."""
    with tempfile.TemporaryDirectory(prefix="ood_seg_calibrate_") as folder:
        seen = _scored(source, images, Path(folder), on_image)
        return [
            _fitted(seen[name], name, cfg, images, options, Path(folder))
            for name, cfg in configs.items()
        ]


def _scored(
    source: Any, images: Images, folder: Path, on_image: OnImage
) -> dict[str, list[ScoreHistogram]]:
    """Histograms of every image by score; the maps themselves are written to a folder."""
    histograms: dict[str, list[ScoreHistogram]] = {name: [] for name in source.names}
    for path, name, scores, labels in _maps(source, images, on_image):
        try:
            histograms[name].append(ScoreHistogram.from_scores(scores, labels))
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from error
        index = len(histograms[name]) - 1
        np.save(folder / f"{index}.labels.npy", labels)
        np.save(folder / f"{index}.{name}.npy", scores)
    return histograms


def _maps(
    source: Any, images: Images, on_image: OnImage
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Path of the image, name of the score, scores and labels; a ValueError where one fails."""
    for index, (batch, labels) in enumerate(images):
        path, truth = batch["data_samples"][0].img_path, labels.cpu().numpy().astype(np.uint8)
        for scored in source.scores(batch, source.names, memory=False):
            if scored.scores is None:
                raise ValueError(f"{path}: {scored.name}: {scored.failure}")
            yield path, scored.name, torch.as_tensor(scored.scores).float().cpu().numpy(), truth
        on_image(index + 1, len(images))


def _fitted(
    histograms: Sequence[ScoreHistogram],
    name: str,
    cfg: Config,
    images: Images,
    options: FitOptions,
    folder: Path,
) -> Calibration:
    checkpoint = str(cfg.load_from)
    calibration = calibrate(
        histograms,
        score=plain(cfg.model.energy_head).get("score", {}).get("type", "Energy"),
        data_set=options.data_set or images.name,
        method=chosen_method(options.method, histograms),
        points=options.points,
        assumed_prior=options.assumed_prior,
        seed=options.seed,
        model=options.model or Path(checkpoint).name,
        checkpoint_sha256=checkpoint_sha256(checkpoint),
        commit=git_commit(),
        setup=setup_of(cfg),
    )
    maps = (
        (np.load(folder / f"{index}.{name}.npy"), np.load(folder / f"{index}.labels.npy"))
        for index in range(len(histograms))
    )
    return with_false_alarms(calibration, maps, min_area=options.min_area)
