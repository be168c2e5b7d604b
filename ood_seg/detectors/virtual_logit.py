"""ViM: a virtual logit from the part of an activation outside the in-distribution subspace."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.linear_classifier import classifier_weights
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.ranks import from_any_rank
from ood_seg.detectors.reservoir import PixelReservoir, labels_at
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.labels import split_labels
from ood_seg.precision import full_precision, without_autocast


def origin_of(weight: Tensor, bias: Tensor) -> Tensor:
    """Offset `o = -W^+ b (D,)`: the activation whose logits are nearest to zero (section 4.1)."""
    return -torch.linalg.pinv(weight) @ bias


@without_autocast
def residual_norm(features: Tensor, origin: Tensor, null_space: Tensor) -> Tensor:
    """Length of `features - origin (P, D)` in the span of `null_space (D, R)`, `(P,)`."""
    return ((features - origin) @ null_space).norm(dim=1)


class VirtualLogitFitter:
    """Computes the statistics of `VirtualLogit`; labels only select the known pixels.

    The subspace is that of all pixels, `alpha` is computed on a uniform sample after it.

    Args:
        dimensions: of the principal subspace, 1 to D - 1. None: those of the paper, 1000 from
            D = 2048 and 512 from D = 768, else D // 2.
        sample_size: maximum number of pixels for `alpha`.
        seed: of that sample.
    """

    layers = (PENULTIMATE,)

    def __init__(
        self, dimensions: int | None = None, sample_size: int = 10000, seed: int = 0
    ) -> None:
        self.dimensions = dimensions
        self.moments = ClassMoments(1)
        self.reservoir = PixelReservoir(sample_size, seed)
        self._classifier: tuple[Tensor, Tensor] | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`.

        Raises:
            ValueError: see `classifier_weights`; or `dimensions` is not below D.
        """
        features = outputs.features[PENULTIMATE]
        if self._classifier is None:
            weight, bias = classifier_weights(network)
            self._classifier = weight.cpu(), bias.cpu()
            self._dimensions_of(features.shape[1])
        known = split_labels(labels_at(labels, features.shape[2:]).flatten())[0]
        self.moments.update(rows(full_precision(features))[known])
        self.reservoir.update(features, labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.moments = reduced(self.moments) or self.moments
        self.reservoir.reduce()
        # A process without images has not seen the network.
        self._classifier = from_any_rank(self._classifier)

    def result(self) -> Statistics:
        """Tensors `origin_point (D,)`, `null_space (D, R)` and `alpha ()`.

        Raises:
            ValueError: there are fewer known pixels than channels, the known pixels have no
                residual, or their largest logits are negative on average, so that a residual would
                lower the score.
        """
        sample = self.reservoir.require(1, "ViM").double()
        assert self._classifier is not None
        weight, bias = self._classifier
        origin = origin_of(weight, bias)
        dimensions = self._dimensions_of(len(origin))
        null_space = self._null_space(origin, dimensions)
        residual = residual_norm(sample, origin, null_space).mean()
        if residual <= 1e-9 * (sample - origin).norm(dim=1).mean():
            raise ValueError(
                f"{dimensions} dimensions contain all known pixels, so that ViM has no residual; "
                "set fewer `dimensions`"
            )
        largest = (sample @ weight.T + bias).amax(dim=1).mean()
        if not largest > 0:
            raise ValueError(
                f"the largest logits of known pixels are {largest:.3g} on average; ViM scales its "
                "residual to them, which requires logits above 0: use another score"
            )
        tensors = {
            "origin_point": origin.float(),
            "null_space": null_space.float().contiguous(),
            "alpha": (largest / residual).float(),
        }
        count = int(self.moments.counts.sum())
        options = {"dimensions": dimensions, "seed": self.reservoir.seed, "pixels": count}
        return Statistics(VirtualLogit.method, tensors, options)

    def _null_space(self, origin: Tensor, dimensions: int) -> Tensor:
        """Basis `(D, R)` of the complement of the principal subspace about `origin`."""
        count, width = int(self.moments.counts.sum()), len(origin)
        if count < width:
            raise ValueError(
                f"the subspace of ViM needs at least {width} labelled known pixels, as many as the "
                f"activation has channels, got {count}; fit on more images"
            )
        shift = self.moments.means[0].cpu() - origin
        second = self.moments.covariance().cpu() + torch.outer(shift, shift)
        if not second.isfinite().all():
            raise ValueError("some penultimate activations are infinite or NaN; use float32")
        return torch.linalg.eigh(second).eigenvectors[:, : width - dimensions]

    def _dimensions_of(self, width: int) -> int:
        dimensions = self.dimensions
        if dimensions is None:
            dimensions = 1000 if width >= 2048 else 512 if width >= 768 else width // 2
        if not 1 <= dimensions < width:
            raise ValueError(
                f"the principal subspace must have 1 to {width - 1} dimensions of the {width} of "
                f"the activation, got {dimensions}"
            )
        return dimensions


class VirtualLogit(FittedDetector):
    """ViM: the residual of the activation as an additional logit, compared with the class logits.

    Source: Wang et al., "ViM: Out-Of-Distribution with Virtual-Logit Matching", CVPR 2022, eqs. 4
    to 7. The residual `r` is the part of `x - o` outside the principal subspace of in-distribution
    data, `alpha` scales it to the size of their largest logits, and the score is

        form="energy":       alpha |r| - logsumexp(f)                     any real number
        form="probability":  exp(alpha |r|) / (sum_c exp(f_c) + exp(alpha |r|))        (0, 1)

    The second, eq. 7, is the sigmoid of the first, so that both give the same ranking; but in
    float32 it has steps and ties far from 0, so the first is the default.

    Args:
        statistics: see `FittedDetector`.
        form: `energy` or `probability`.

    Raises:
        ValueError: see `FittedDetector`; or the form is unknown.
    """

    method = "vim"
    fitter = VirtualLogitFitter
    entries: ClassVar = {
        "origin_point": real("D"),
        "null_space": real("D", "R"),
        "alpha": real(low=0, above=True),
    }
    read_options: ClassVar = {"dimensions": "count"}
    layers = (PENULTIMATE,)
    alpha: Tensor
    null_space: Tensor
    origin_point: Tensor

    def __init__(self, statistics: str | Path | StatisticsFile, form: str = "energy") -> None:
        super().__init__(statistics)
        if form not in ("energy", "probability"):
            raise ValueError(f"form must be 'energy' or 'probability', got {form!r}")
        self.form = form

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the penultimate activation."""
        features = layer_features(outputs, PENULTIMATE)
        residual = residual_norm(
            rows(features), self.origin_point.to(features), self.null_space.to(features)
        )
        residual = residual.view(features.shape[0], *features.shape[2:])
        # Not outputs.logits: a head may have interpolated those.
        logits = network.classify(features)
        score = self.alpha.to(features) * residual - logits.logsumexp(dim=1)
        return score if self.form == "energy" else score.sigmoid()

    def extra_repr(self) -> str:
        return f"form={self.form!r}, principal={self.options['dimensions']}"
