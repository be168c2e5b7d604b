"""Density of activations under one Gaussian for each class, each with its own covariance."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.reservoir import labels_at
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import Statistics
from ood_seg.detectors.whitening import whitening_matrix
from ood_seg.precision import without_autocast

_CHUNK = 1 << 16


@without_autocast
def mixture_density(
    features: Tensor, means: Tensor, whitening: Tensor, log_weights: Tensor
) -> Tensor:
    """`log sum_k pi_k N(z | mu_k, S_k)`.

    Args:
        features: `z`, `(P, D)`.
        means: `mu`, `(K, D)`.
        whitening: `W`, `(K, D, D)` with `W_k^T W_k` the inverse of `S_k`.
        log_weights: `log pi`, `(K,)`.

    Returns:
        `(P,)`.

    Raises:
        ValueError: features and means differ in D.
    """
    if features.shape[1] != means.shape[1]:
        raise ValueError(
            f"the statistics have {means.shape[1]} channels, the activations have "
            f"{features.shape[1]}"
        )
    determinants = torch.linalg.slogdet(whitening.double()).logabsdet
    heights = log_weights + determinants - 0.5 * means.shape[1] * math.log(2 * math.pi)
    parts = []
    for part in features.split(_CHUNK):
        terms = [
            height - 0.5 * ((part - mean) @ matrix.T).square().sum(dim=1)
            for height, mean, matrix in zip(heights.to(part), means, whitening, strict=True)
        ]
        parts.append(torch.stack(terms).logsumexp(dim=0))
    return torch.cat(parts) if parts else features.new_empty(0)


class GaussianMixtureFitter:
    """Mean and covariance of the penultimate activation by labelled class, in one pass.

    A class with fewer pixels than channels has no covariance of its own; it gets the common one
    within all classes.

    Args:
        shrinkage: share, 0 to 1, of a scaled identity in each covariance, see `whitening_matrix`.
            A class often leaves some channels at 0, so that without it the covariance is singular.

    Raises:
        ValueError: the shrinkage is not in `[0, 1]`.
    """

    layers = (PENULTIMATE,)

    def __init__(self, shrinkage: float = 0.01) -> None:
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be 0 to 1, got {shrinkage}")
        self.shrinkage = shrinkage
        self._moments: ClassMoments | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        features = layer_features(outputs, PENULTIMATE)
        if self._moments is None:
            self._moments = ClassMoments(outputs.logits.shape[1], scatter="class")
        self._moments.update(rows(features), labels_at(labels, features.shape[2:]).flatten())

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)

    def result(self) -> Statistics:
        """Tensors `means (C, D)`, `whitening (C, D, D)` and `counts (C,)`, pixels by class.

        The whitening of a class that never occurs is 0.

        Raises:
            ValueError: there is no known pixel, activations are not finite, or a covariance is
                singular; the message names the class.
        """
        moments = self._moments
        if moments is None or moments.scatter is None or not moments.counts.any():
            raise ValueError("GMM needs at least one known pixel, found none")
        counts, width = moments.counts, moments.means.shape[1]
        common = moments.scatter.sum(dim=0) / counts.sum()
        whitening = torch.zeros_like(moments.scatter)
        for index in counts.nonzero().flatten().tolist():
            own = counts[index] > width
            covariance = moments.scatter[index] / counts[index] if own else common
            name = f"{PENULTIMATE}, class {index}"
            whitening[index] = whitening_matrix(covariance, shrinkage=self.shrinkage, name=name)
        tensors = {
            "means": moments.means.float(),
            "whitening": whitening.float(),
            "counts": counts.long(),
        }
        return Statistics(GaussianMixture.method, tensors, {"shrinkage": self.shrinkage})


class GaussianMixture(FittedDetector):
    """Negative log density under a mixture of one Gaussian for each class (GMM).

    A classical baseline without a paper of its own: class-conditional Gaussians with their own
    covariances, weighted by the number of labelled pixels of the class. Against `Mahalanobis`,
    whose covariance is common to all classes, a class may be narrow or wide, frequent or rare. A
    class that never occurred is left out.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`.
    """

    method = "gmm"
    fitter = GaussianMixtureFitter
    entries: ClassVar = {
        "means": real("C", "D"),
        "whitening": real("C", "D", "D"),
        "counts": counts("C"),
    }
    layers = (PENULTIMATE,)
    means: Tensor
    whitening: Tensor
    counts: Tensor

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        present = self.counts > 0
        weights = (self.counts[present].double() / self.counts.sum()).log()
        density = mixture_density(
            rows(features),
            self.means[present].to(features),
            self.whitening[present].to(features),
            weights,
        )
        return -density.view(features.shape[0], *features.shape[2:])
