"""Average of several predictions of one image, as running sums: no prediction is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from ood_seg.precision import full_precision
from ood_seg.scores import entropy

UNCERTAINTIES = ("predictive-entropy", "mutual-information")


class PredictionAverage:
    """Running means of logits, of probabilities, and of the entropies of single predictions.

    Attributes:
        count: predictions so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._logits: Tensor | None = None
        self._probabilities: Tensor | None = None
        self._entropies: Tensor | None = None

    def add(self, logits: Tensor) -> None:
        """Add a prediction `(N, C, *)`."""
        logits = full_precision(logits)
        parts = logits, logits.softmax(dim=1), entropy(logits)
        if self.count:
            sums = self._logits, self._probabilities, self._entropies
            parts = tuple(old + new for old, new in zip(sums, parts, strict=True))
        self._logits, self._probabilities, self._entropies = parts
        self.count += 1

    @property
    def logits(self) -> Tensor:
        """Mean logits, `(N, C, *)`."""
        return self._logits / self.count

    @property
    def probabilities(self) -> Tensor:
        """Mean probabilities, `(N, C, *)`."""
        return self._probabilities / self.count

    def uncertainty(self, name: str) -> Tensor:
        """One of `UNCERTAINTIES` in nats, `(N, *)`.

        predictive-entropy:  H(mean p), in [0, log C]
        mutual-information:  H(mean p) - mean H(p), of prediction and weights, in the same range:
                             0 where all predictions agree, however uncertain each is
        """
        total = torch.special.entr(self.probabilities).sum(dim=1)
        if name == "predictive-entropy":
            return total
        # Rounding leaves a hair below 0 where all predictions are the same.
        return (total - self._entropies / self.count).clamp(min=0)


def check_uncertainty(name: str, count: int) -> None:
    """Raise unless it is one of `UNCERTAINTIES`, and there are predictions enough for it.

    Raises:
        ValueError: another name; or fewer predictions than 1, or 2 for the mutual information.
    """
    if name not in UNCERTAINTIES:
        raise ValueError(f"score must be one of {UNCERTAINTIES}, got {name!r}")
    least = 1 + (name == "mutual-information")
    if count < least:
        raise ValueError(f"the score {name!r} takes at least {least} predictions, got {count}")
