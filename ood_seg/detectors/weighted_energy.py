"""Energy with a weight for each class, learned from outlier pixels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import check_classes
from ood_seg.detectors.reservoir import PixelReservoir
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import full_precision
from ood_seg.scores import weighted_energy

_STEPS = 200


def fit_class_weights(known: Tensor, outliers: Tensor, *, strength: float = 1e-3) -> Tensor:
    """Class weights whose energy separates outlier from known pixels, by logistic regression.

    Minimises the mean log loss of `a E(f) + b` with `E(f) = -logsumexp(f + log w)`, both kinds of
    pixels weighing the same, plus `strength / 2 * |log w|^2`, by L-BFGS in float64. As the
    strength grows, the weights approach 1, which is the plain energy.

    Args:
        known: logits `(P, C)`.
        outliers: logits `(Q, C)`.
        strength: of the penalty.

    Returns:
        `(C,)` float64, positive.
    """
    with torch.inference_mode(False), torch.enable_grad():
        groups = known.detach().clone().double(), outliers.detach().clone().double()
        log_weights = torch.zeros(known.shape[1], dtype=torch.float64, requires_grad=True)
        centre = float(groups[0].logsumexp(dim=1).mean())
        line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
        variables = [log_weights, line]
        optimizer = torch.optim.LBFGS(
            variables, max_iter=_STEPS, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = 0.5 * strength * log_weights.square().sum()
            for sign, logits in zip((-1, 1), groups, strict=True):
                energies = centre - (logits + log_weights).logsumexp(dim=1)
                loss = loss + 0.5 * F.softplus(-sign * (line[0] * energies + line[1])).mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    return log_weights.detach().exp()


class WeightedEnergyFitter:
    """Samples logits of known and of outlier pixels, and fits the weights to them.

    Logits are read at the network's own resolution.

    Args:
        sample_size: maximum number of known and of outlier pixels each.
        strength: see `fit_class_weights`.
        seed: of the samples.
    """

    layers: tuple[str, ...] = ()
    needs_outliers = True

    def __init__(self, sample_size: int = 20000, strength: float = 1e-3, seed: int = 0) -> None:
        self.strength = strength
        self.known = PixelReservoir(sample_size, seed)
        self.outliers = PixelReservoir(sample_size, seed, outliers=True)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        logits = full_precision(outputs.logits)
        self.known.update(logits, labels)
        self.outliers.update(logits, labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.known.reduce()
        self.outliers.reduce()

    def result(self) -> Statistics:
        """Tensor `weights (C,)`.

        Raises:
            ValueError: there is no known or no outlier pixel, or logits are not finite.
        """
        known = self.known.require(1, "weighted energy")
        outliers = self.outliers.require(1, "weighted energy")
        weights = fit_class_weights(known, outliers, strength=self.strength)
        options = {
            "strength": self.strength,
            "seed": self.known.seed,
            "pixels": len(self.known),
            "outlier_pixels": len(self.outliers),
        }
        return Statistics(WeightedEnergy.method, {"weights": weights.float()}, options)


class WeightedEnergy(FittedDetector):
    """`weighted_energy` with weights fitted on pasted outliers.

    Source: Du et al., "VOS: Learning What You Don't Know by Virtual Outlier Synthesis", ICLR 2022,
    eq. 5 and 6. There the weights are trained together with the network, against outliers drawn
    around its features; here the network stays as it is and they are fitted to its logits
    (`fit_class_weights`). Weights trained elsewhere: `ood_seg.scores.weighted_energy`.

    Args:
        statistics: see `FittedDetector`.
        temperature: of the energy.

    Raises:
        ValueError: see `FittedDetector`; in the forward pass also for logits of other classes.
    """

    method = "weighted-energy"
    needs = "logits"
    fitter = WeightedEnergyFitter
    entries: ClassVar = {"weights": real("C", low=0, above=True)}
    weights: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, temperature: float = 1.0) -> None:
        super().__init__(statistics)
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        """Scores `(N, *)` of logits `(N, C, *)`."""
        check_classes(logits, len(self.weights), self.origin)
        return weighted_energy(logits, self.weights, self.temperature)

    def extra_repr(self) -> str:
        return f"classes={len(self.weights)}, temperature={self.temperature}"
