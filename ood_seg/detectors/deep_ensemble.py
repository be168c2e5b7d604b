"""Deep ensemble: the average of several checkpoints of one architecture."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ood_seg import scores
from ood_seg.checkpoints import check_matches, load_weights
from ood_seg.detectors.base import Detector
from ood_seg.detectors.network import Network
from ood_seg.detectors.prediction_average import (
    UNCERTAINTIES,
    PredictionAverage,
    check_uncertainty,
)

_LOGIT_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "energy": scores.energy,
    "entropy": scores.entropy,
    "max-logit": scores.max_logit,
    "max-softmax": scores.max_softmax,
}


class DeepEnsemble(Detector):
    """Uncertainty, or a logit score, of the average over the model and further checkpoints.

    Source: Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", NeurIPS 2017.

        predictive-entropy, mutual-information:   of the mean probabilities, see
                                                  `PredictionAverage`; labels are their arg-max
        energy, entropy, max-logit, max-softmax
        or a module (N,C,*) -> (N,*):             of the mean logits; labels are their arg-max

    Unlike with other scores, the labels therefore differ from those of the model. Each member's
    weights are loaded into the model for one forward pass, and the model's own weights are
    restored afterwards, also after an error. The further members stay on the CPU; in addition
    there is one copy of the model's own weights during the prediction.

    Args:
        checkpoints: of the further members.
        score: a name from the list above, or a module.
        allowed: regular expressions of keys that may differ, see `check_matches`.

    Raises:
        FileNotFoundError, ValueError: a checkpoint is missing or damaged, see `load_weights`;
            `checkpoints` is empty, or `score` is unknown.
    """

    needs = "network"

    def __init__(
        self,
        checkpoints: Sequence[str | Path],
        score: str | Callable[[Tensor], Tensor] = "predictive-entropy",
        allowed: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if isinstance(checkpoints, (str, Path)) or not checkpoints:
            raise ValueError(
                "checkpoints must be a list of at least one further checkpoint, "
                f"got {checkpoints!r}"
            )
        if isinstance(score, str):
            if score in UNCERTAINTIES:
                check_uncertainty(score, 1 + len(checkpoints))
            elif score not in _LOGIT_SCORES:
                names = (*UNCERTAINTIES, *_LOGIT_SCORES)
                raise ValueError(f"score must be a module or one of {names}, got {score!r}")
        self.score = score
        self.allowed = tuple(allowed)
        self._members = {str(path): load_weights(path) for path in checkpoints}

    @torch.no_grad()
    def forward(self, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(N, C, *)` of the ensemble, and scores `(N, *)`.

        Raises:
            ValueError: a checkpoint is of another architecture.
        """
        self.check_model(network)
        with contextlib.closing(self._predictions(network, images)) as predictions:
            average = PredictionAverage.of(predictions)
        if isinstance(self.score, str) and self.score in UNCERTAINTIES:
            smallest = torch.finfo(torch.float32).tiny
            logits = average.probabilities.clamp(min=smallest).log()
            return logits, average.uncertainty(self.score)
        function = _LOGIT_SCORES[self.score] if isinstance(self.score, str) else self.score
        return average.logits, function(average.logits)

    def check_model(self, network: Network) -> None:
        """Raise `ValueError` for the first checkpoint that does not match the architecture."""
        for origin, weights in self._members.items():
            check_matches(network.module, weights, origin=origin, allowed=self.allowed)

    def extra_repr(self) -> str:
        return f"members={1 + len(self._members)}, score={self.score!r}"

    def _predictions(self, network: Network, images: Tensor) -> Generator[Tensor, None, None]:
        """Logits of each member; restores the network's own weights when it ends or is closed."""
        yield network(images).logits
        own = {name: value.clone() for name, value in network.module.state_dict().items()}
        try:
            for weights in self._members.values():
                network.module.load_state_dict(weights, strict=False)
                yield network(images).logits
        finally:
            network.module.load_state_dict(own)
