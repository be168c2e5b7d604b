"""Many scores of one model from one forward pass per image.

image -> small logits, activations of all layers that a score needs -> scores of `outputs`
         `-> logits at the image's size ---------------------------> scores of `logits`
image -> scores of `network`, each on its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ood_seg.comparison.measuring import Cost, measured
from ood_seg.comparison.sources import Scored
from ood_seg.detectors import Outputs, layers_of
from ood_seg.models.detector_scores import (
    image_maps,
    needs_of,
    network_of,
    network_scores,
    require_layers,
    require_whole_images,
)
from ood_seg.models.energy_head import wants_all_channels


class SharedPass:
    """The scores of a model.

    Args:
        model: an `OODEncoderDecoder` for whole images, or an `ImageClassifier`, with its weights,
            in evaluation mode.
        scores: score modules by name, on the model's device.
        smoothing: last step of every score; None: none.

    Attributes:
        shared: seconds of the steps that the scores share, and the number of images.
        failures: why a score does not work on this model, by name.
    """

    def __init__(
        self, model: BaseModel, scores: Mapping[str, nn.Module], smoothing: nn.Module | None = None
    ) -> None:
        # With an anomaly branch, the scores are those of the branch's network.
        branch = getattr(model, "anomaly_branch", None)
        self.model: Any = model if branch is None else branch.network(model)
        self.smoothing = smoothing
        self._raw: Any = None  # small logits of all channels
        self.network = network_of(self.model, self._forward)
        self.shared = {"forward": 0.0, "logits": 0.0, "images": 0}
        self.failures: dict[str, str] = {}
        self._scores = {}
        for name, score in scores.items():
            try:
                require_whole_images(self.model)
                self._check(score)
                self._scores[name] = score
            except ValueError as error:
                self.failures[name] = str(error)
        self.names = tuple(self._scores)

    @torch.no_grad()
    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """Scores of one image, or of a batch of an image-level model; see `ScoreSource`."""
        data = self.model.data_preprocessor(dict(batch), False)
        images, samples = data["inputs"], data["data_samples"]
        by_need = {need: [n for n in names if needs_of(self._scores[n]) == need] for need in _ORDER}
        outputs: Outputs | None = None
        logits: Any = None
        if by_need["outputs"] or by_need["logits"]:
            layers = layers_of({name: self._scores[name] for name in by_need["outputs"]})
            outputs = self._timed("forward", lambda: self.network(images, layers))
            self.shared["images"] += 1
        # Activations are used first, so that the large logits are not held at the same time.
        for name in by_need["outputs"]:
            yield self._scored(name, partial(self._map, name, images, samples, outputs), memory)
        outputs = None
        if by_need["logits"]:
            logits = self._timed("logits", lambda: self._image_logits(images, samples))
        for name in by_need["logits"]:
            yield self._scored(name, partial(self._of_logits, name, logits), memory)
        logits = self._raw = None
        for name in by_need["network"]:
            yield self._scored(name, partial(self._map, name, images, samples, None), memory)

    def take_costs(self) -> dict[str, float]:
        """Return `shared`, and reset it."""
        costs, self.shared = self.shared, dict.fromkeys(self.shared, 0)
        return costs

    def _forward(self, images: Tensor) -> Tensor:
        """Small logits of all channels, kept for scores that use more than the class channels."""
        self._raw = self.model._forward(images)
        return self._raw

    def _check(self, score: Any) -> None:
        """Raise if a score was fitted on another model, or needs a layer that does not exist."""
        if hasattr(score, "check_model"):
            score.check_model(self.network)
        require_layers(self.network, getattr(score, "layers", ()))

    def _timed(self, what: str, step: Callable[[], Any]) -> Any:
        result, cost = measured(step, self._device)
        self.shared[what] += cost.seconds
        return result

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _scored(self, name: str, step: Callable[[], Tensor], memory: bool) -> Scored:
        try:
            scores, cost = measured(step, self._device, memory=memory)
            return Scored(name, scores, cost)
        # One failing score must not lose the work on the others.
        except Exception as error:
            return Scored(name, None, Cost(0.0, None), f"{type(error).__name__}: {error}")

    def _image_logits(self, images: Tensor, samples: Sequence[Any]) -> Tensor:
        """All channels at the image's size, `(1, C', H, W)`; `(N, C')` of an image-level model."""
        if self._raw.ndim == 2:
            return self._raw
        (logits,) = image_maps(
            self._raw, images.shape[-2:], samples, align_corners=self.model.align_corners
        )
        return logits.unsqueeze(0)

    def _of_logits(self, name: str, logits: Tensor) -> Tensor:
        score = self._scores[name]
        if not wants_all_channels(score):
            logits = self.model.energy_head.class_logits(logits)
        scores = self._smoothed(score(logits))
        return scores if logits.ndim == 2 else scores[0]

    def _map(
        self, name: str, images: Tensor, samples: Sequence[Any], outputs: Outputs | None
    ) -> Tensor:
        score = self._scores[name]
        _, small = network_scores(score, self.network, images, outputs)
        if small.ndim == 1:
            return small
        (score_map,) = image_maps(
            small.unsqueeze(1), images.shape[-2:], samples, align_corners=self.model.align_corners
        )
        return self._smoothed(score_map)[0]

    def _smoothed(self, scores: Tensor) -> Tensor:
        return scores if self.smoothing is None else self.smoothing(scores)


_ORDER = ("outputs", "logits", "network")
