"""Average of several predictions of one image, in running sums: no prediction is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ood_seg.precision import full_precision
from ood_seg.scores import entropy

UNCERTAINTIES = ("predictive-entropy", "mutual-information")


class PredictionAverage(NamedTuple):
    """Means over several predictions.

    Attributes:
        logits: `(N, C, *)`.
        probabilities: `(N, C, *)`.
        entropies: mean of the entropies of the single predictions, `(N, *)`.
    """

    logits: Tensor
    probabilities: Tensor
    entropies: Tensor

    @classmethod
    def of(cls, predictions: Iterable[Tensor]) -> PredictionAverage:
        """The average of at least one prediction, each logits `(N, C, *)`."""
        count, sums = 0, None
        for logits in map(full_precision, predictions):
            parts = cls(logits, logits.softmax(dim=1), entropy(logits))
            sums = parts if sums is None else cls(*map(torch.add, sums, parts))
            count += 1
        assert sums is not None
        return cls(*(total / count for total in sums))

    def uncertainty(self, name: str) -> Tensor:
        """One of `UNCERTAINTIES` in nats, `(N, *)`.

        predictive-entropy:  H(mean p), in [0, log C]
        mutual-information:  H(mean p) - mean H(p), of prediction and weights, in the same range:
                             0 where all predictions agree, however uncertain each is
        """
        total = torch.special.entr(self.probabilities).sum(dim=1)
        if name == "predictive-entropy":
            return total
        # Rounding gives slightly negative values where all predictions are equal.
        return (total - self.entropies).clamp(min=0)


def check_uncertainty(name: str, count: int) -> None:
    """Raise unless `name` is one of `UNCERTAINTIES` and `count` predictions suffice for it.

    Raises:
        ValueError: another name; or fewer than 1 prediction, or 2 for the mutual information.
    """
    if name not in UNCERTAINTIES:
        raise ValueError(f"score must be one of {UNCERTAINTIES}, got {name!r}")
    least = 1 + (name == "mutual-information")
    if count < least:
        raise ValueError(f"the score {name!r} needs at least {least} predictions, got {count}")
