"""Scores of one model, built from their configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import nn

from ood_seg.comparison.ready_made import LAST_FEATURES
from ood_seg.comparison.shared_pass import SharedPass
from ood_seg.comparison.sources import Identity
from ood_seg.detectors import PENULTIMATE, FittedDetector
from ood_seg.io.json_files import plain
from ood_seg.io.provenance import checkpoint_sha256
from ood_seg.smoothing import GaussianSmoothing


class ModelScores(SharedPass):
    """The scores of a model that a comparison computes.

    Args:
        model: of `load_model` with `plain_score`.
        configs: of registered scores, by name.
        statistics: file for the scores that need one and name none.
        smoothing: kernel size and sigma of a Gaussian, the last step of every score; None: none.
        seed: random seed of the process.

    Attributes:
        configs: of all scores, with their statistics file.
        failures: why a score could not be built, by name.
        identities: what the results of each score depend on besides the data.
        facts: checkpoint, statistics and device, as JSON values.

    Raises:
        ValueError: none of the scores could be built, or one is not registered.
    """

    def __init__(
        self,
        model: Any,
        configs: Mapping[str, Mapping[str, Any]],
        *,
        statistics: str | Path | None = None,
        smoothing: tuple[int, float] | None = None,
        seed: int | None = None,
    ) -> None:
        device = next(model.parameters()).device
        self.seed, self.smoothing_options = seed, smoothing
        network = getattr(model, "network", None)
        last = (PENULTIMATE, *getattr(network, "feature_layers", ()))[-1]
        self.configs = {
            name: {
                key: last if value == LAST_FEATURES else value
                for key, value in with_statistics(config, statistics).items()
            }
            for name, config in configs.items()
        }
        modules, failures = {}, {}
        for name, config in self.configs.items():
            try:
                modules[name] = build_score(config).to(device).eval()
            except (ValueError, FileNotFoundError, TypeError) as error:
                failures[name] = str(error)
        blur = GaussianSmoothing(int(smoothing[0]), smoothing[1]) if smoothing else None
        super().__init__(model, modules, blur)
        self.failures = {**failures, **self.failures}
        if not self.names:
            reasons = (f"{name}: {reason}" for name, reason in self.failures.items())
            raise ValueError(f"no score can be computed: {'; '.join(reasons)}")
        checkpoint = str(model.cfg.load_from)
        self.facts = {
            "checkpoint": checkpoint,
            "checkpoint_sha256": checkpoint_sha256(checkpoint),
            "statistics": None if statistics is None else str(statistics),
            "device": str(device),
            "threads": torch.get_num_threads(),
        }
        common = {"model": plain(model.cfg.model), "smoothing": smoothing, "seed": seed}
        self.identities = {
            name: Identity(
                {**common, "device": str(device), "score": self.configs[name]},
                _existing_files([checkpoint, self.configs[name]]),
            )
            for name in self.names
        }


def with_statistics(config: Mapping[str, Any], statistics: str | Path | None) -> dict[str, Any]:
    """A config with the statistics file, if its score needs one and names none.

    Raises:
        ValueError: the score is not registered.
    """
    kind = MODELS.get(config["type"])
    if kind is None:
        raise ValueError(f"scores: {config['type']!r} is not a registered score")
    needs_file = isinstance(kind, type) and issubclass(kind, FittedDetector)
    if not needs_file or "statistics" in config or statistics is None:
        return dict(config)
    return {**config, "statistics": str(statistics)}


def build_score(config: Mapping[str, Any]) -> nn.Module:
    """The score of a config; unlike a registry, it passes on the errors of the constructor.

    Raises:
        ValueError: the score needs statistics, and the config names no file.
    """
    options = dict(config)
    kind = MODELS.get(options.pop("type"))
    if issubclass(kind, FittedDetector) and "statistics" not in options:
        raise ValueError(
            "needs --statistics FILE; `ood-seg fit CONFIG CHECKPOINT --file FILE` makes it"
        )
    return kind(**options)


def _existing_files(value: Any) -> list[Path]:
    """The files that exist, among all texts of a config: statistics, members of an ensemble."""
    if isinstance(value, str):
        return [Path(value)] if Path(value).is_file() else []
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [path for one in value for path in _existing_files(one)]
