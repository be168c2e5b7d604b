"""Measurements of a pre-trained model on its training scenes with pasted outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor
from torch.utils.data import DataLoader

from ood_seg.engine.outlier_prior import dataset_classes, measure_outlier_prior, visit_pasted_scenes
from ood_seg.engine.runner import QuietRunner, allow_new_weights, load_config, set_up_process
from ood_seg.io.provenance import git_commit
from ood_seg.labels import ANOMALY, IGNORE, KNOWN, split_labels
from ood_seg.margins import EnergySummary, Margins, at_margins, suggest_margins, summaries
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.pixel import split_scores
from ood_seg.metrics.streaming import ScoreTable
from ood_seg.models.loading import load_model
from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder
from ood_seg.outlier_priors import OutlierPrior
from ood_seg.scores import energy

MARGINS_SCHEMA = "ood_seg.margins/1"


@dataclass(frozen=True)
class Pretrained:
    """A model with its pre-trained weights, and the data that it is to be fine-tuned on.

    Attributes:
        model: the network.
        loader: of the training data.
        cfg: the config of both.
        seed: random seed.
    """

    model: OODEncoderDecoder
    loader: DataLoader
    cfg: Config
    seed: int


def load_pretrained(
    config: str | Path | Config, checkpoint: str | Path | None = None
) -> Pretrained:
    """Return the model of a fine-tuning config before its first iteration, and its data.

    Args:
        config: path of a file, name of a shipped config, or a config.
        checkpoint: pre-trained weights, which may lack the config's `new_weights`; None: the
            config's `load_from`.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: the config has no training data, or a checkpoint that `load_model` refuses.
    """
    cfg = load_config(config)
    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"config {cfg.filename} has no train_dataloader; give the config of the fine-tuning, "
            "whose training pipeline pastes outliers"
        )
    allow_new_weights(cfg)
    seed = set_up_process(cfg)
    model = load_model(cfg, checkpoint)
    return Pretrained(model, QuietRunner.build_dataloader(cfg.train_dataloader), model.cfg, seed)


def estimate_outlier_prior(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    num_images: int = 10_000,
    compare: Mapping[str, OutlierPrior] | None = None,
) -> OutlierPrior:
    """Measure which classes a pre-trained model predicts on pasted outliers.

    Args:
        config, checkpoint: see `load_pretrained`.
        num_images: number of pasted scenes (the paper uses 10000).
        compare: other priors by name, whose classes must be the same.

    Returns:
        The prior with its counts; `write_prior` saves it for `OutlierPriorHook`.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: see `load_pretrained`; no scenes, other classes in `compare`, or no outlier
            pixel in any scene.
    """
    _require_scenes(num_images)
    found = load_pretrained(config, checkpoint)
    for name, prior in (compare or {}).items():
        prior.check_classes(dataset_classes(found.loader), origin=name)
    return measure_outlier_prior(
        found.model, found.loader, found.cfg, num_images=num_images, seed=found.seed
    )


@dataclass(frozen=True)
class MarginReport:
    """Energies of a pre-trained model on its training scenes, and margins for fine-tuning.

    Attributes:
        histogram: energies of known and of pasted pixels.
        known, outliers: summaries of both.
        margins: by name: the suggestions of `margins.suggest_margins`, and `config` for those of
            the config.
        origin: config, model, number of images, seed and commit.
    """

    histogram: ScoreHistogram
    known: EnergySummary
    outliers: EnergySummary
    margins: dict[str, Margins]
    origin: dict[str, Any]

    def content(self) -> dict[str, Any]:
        """Return all but the histogram as JSON values."""
        return {
            "schema": MARGINS_SCHEMA,
            "known": asdict(self.known),
            "outliers": asdict(self.outliers),
            "margins": {name: asdict(pair) for name, pair in self.margins.items()},
            **self.origin,
        }


def report_margins(
    config: str | Path | Config, checkpoint: str | Path | None = None, *, num_images: int = 200
) -> MarginReport:
    """Measure the energies of known and pasted pixels, and suggest margins.

    Args:
        config, checkpoint: see `load_pretrained`.
        num_images: number of pasted scenes.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: see `load_pretrained`; no scenes, or no known or no outlier pixel in them.
    """
    _require_scenes(num_images)
    found = load_pretrained(config, checkpoint)
    histogram = energies_of(found, num_images=num_images)
    known, outliers = summaries(histogram)
    margins = suggest_margins(histogram)
    configured = configured_margins(found.cfg.model)
    if configured is not None:
        margins["config"] = at_margins(histogram, *configured)
    origin = {
        "model": found.cfg.load_from,
        "config": str(found.cfg.filename),
        "num_images": num_images,
        "seed": found.seed,
        "git_commit": git_commit(),
    }
    return MarginReport(histogram, known, outliers, margins, origin)


def energies_of(pretrained: Pretrained, *, num_images: int) -> ScoreHistogram:
    """Return the energies of the known and the pasted pixels of training scenes.

    The temperature is that of the model's outlier losses, 1 where they have none.
    """
    model, loader = pretrained.model, pretrained.loader
    options = [getattr(loss, "options", {}) for loss in model.energy_head.losses]
    temperature = next((o["temperature"] for o in options if "temperature" in o), 1.0)
    table = ScoreTable()  # whose memory does not grow with the number of scenes

    def visit(logits: Tensor, labels: Tensor) -> None:
        known, outliers = split_labels(labels)
        kinds = labels.new_full(labels.shape, IGNORE)
        kinds[known], kinds[outliers] = KNOWN, ANOMALY
        split = split_scores(energy(logits, temperature), kinds)
        table.add(split.known, split.anomalous)

    visit_pasted_scenes(
        model,
        loader.dataset,
        visit,
        num_images=num_images,
        seed=pretrained.seed,
        batch_size=loader.batch_size or 1,
        num_workers=loader.num_workers,
        title="Energies",
    )
    return table.histogram


def configured_margins(model: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return `(margin_in, margin_out)` of the first energy loss in a model's config, or None."""
    for loss in (model.get("energy_head") or {}).get("losses") or ():
        if "margin_in" in loss and "margin_out" in loss:
            return loss["margin_in"], loss["margin_out"]
    return None


def _require_scenes(num_images: int) -> None:
    if num_images < 1:
        raise ValueError(f"--num-images must be positive, got {num_images}")
