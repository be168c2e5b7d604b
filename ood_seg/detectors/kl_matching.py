"""KL matching: distance of the softmax from the typical softmax of each class.

Source: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings",
ICML 2022, section 3.2.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import check_classes, full_size_logits, rows
from ood_seg.detectors.sections import counts, real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.labels import split_labels
from ood_seg.precision import full_precision, without_autocast

_SMALLEST = torch.finfo(torch.float32).tiny


@without_autocast
def kl_matching(logits: Tensor, posteriors: Tensor) -> Tensor:
    """`min_k KL(p || d_k)` of the softmax p, in nats, at least 0.

    Args:
        logits: `(N, C, *)`.
        posteriors: `d`, `(K, C)`; zeros count as the smallest normal float32.

    Returns:
        Scores `(N, *)`, at least float32.
    """
    log_p = full_precision(logits).log_softmax(dim=1)
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)  # 0 * -inf would be NaN
    p = log_p.exp()
    log_d = posteriors.clamp(min=_SMALLEST).log().to(p)
    crossed = torch.einsum("nc...,kc->nk...", p, log_d).amax(dim=1)
    return ((p * log_p).sum(dim=1) - crossed).clamp(min=0)


class KLMatchingFitter:
    """Mean softmax by predicted class, of logits at the labels' size.

    The labels only select the known pixels.
    """

    layers: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._moments: ClassMoments | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        probabilities = full_size_logits(outputs, labels, network).softmax(dim=1)
        known = split_labels(labels)[0]
        if self._moments is None:
            self._moments = ClassMoments(probabilities.shape[1], scatter="none")
        classes = probabilities.argmax(dim=1)[known]
        self._moments.update(rows(probabilities)[known.flatten()], classes)

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)

    def result(self) -> Statistics:
        """Tensors `posteriors (C, C)`, row k for class k, and `counts (C,)`.

        Raises:
            ValueError: there is no known pixel, or logits are infinite or NaN.
        """
        if self._moments is None or not self._moments.counts.any():
            raise ValueError("KL matching needs at least one known pixel, found none")
        if not self._moments.means.isfinite().all():
            raise ValueError(
                "KL matching: some logits are infinite or NaN; run the network in float32"
            )
        tensors = {
            "posteriors": self._moments.means.float(),
            "counts": self._moments.counts.long(),
        }
        return Statistics(KLMatching.method, tensors)


class KLMatching(FittedDetector):
    """`kl_matching` with the mean softmax of each predicted class.

    A class that was never predicted in the fit is left out of the minimum.

    Args:
        statistics: see `FittedDetector`.

    Raises:
        ValueError: see `FittedDetector`; in the forward pass also for logits of other classes.
    """

    method = "kl-matching"
    needs = "logits"
    fitter = KLMatchingFitter
    entries: ClassVar = {"posteriors": real("C", "C", low=0), "counts": counts("C")}
    posteriors: Tensor
    counts: Tensor
    predicted: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__(statistics)
        predicted = self.posteriors[self.counts > 0]
        self.register_buffer("predicted", predicted, persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Scores `(N, *)` of logits `(N, C, *)`."""
        check_classes(logits, self.posteriors.shape[1], self.origin)
        return kl_matching(logits, self.predicted)
