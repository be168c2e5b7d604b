"""Fit of the Mahalanobis scores: class means, tied covariance, and the weights of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ood_seg.detectors.layer_samples import LayerSamples
from ood_seg.detectors.layer_weights import fit_layer_weights
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.reservoir import labels_at
from ood_seg.detectors.statistics import Statistics
from ood_seg.detectors.whitened_distance import layer_distance
from ood_seg.detectors.whitening import check_samples, whitening_matrix


class MahalanobisFitter:
    """Means by labelled class and one covariance within the classes, for each layer.

    The covariance is that of all known pixels about their class means, divided by their number.
    Labels are read at the centres of the cells of an activation. A class that never occurs has no
    mean and is left out of the distances. In image-level networks the feature is the mean of the
    activation over the image.

    Several layers are weighted on a uniform, seeded sample of pixels. If the data contain outliers
    (label 254), the weights are those of a logistic regression of outliers against known pixels
    (`fit_layer_weights`); otherwise each layer's distance is standardised on the known sample and
    all layers have equal weight. The weights are fitted without input perturbation.

    Args:
        layers: names of the activations.
        shrinkage: share, 0 to 1, of a scaled identity in the covariance, see `whitening_matrix`;
            the remedy for too few pixels or a singular covariance.
        sample_size: maximum number of known and of outlier pixels for the weights of layers.
        seed: of the sample.

    Raises:
        ValueError: `layers` is empty or has duplicates, or the shrinkage is not in `[0, 1]`.
    """

    method: ClassVar[str] = "mahalanobis"
    relative: ClassVar[bool] = False

    def __init__(
        self,
        layers: Sequence[str] = (PENULTIMATE,),
        shrinkage: float = 0.0,
        sample_size: int = 10_000,
        seed: int = 0,
    ) -> None:
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers must be a list of distinct names, got {layers!r}")
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be 0 to 1, got {shrinkage}")
        self.layers = tuple(layers)
        self.shrinkage = shrinkage
        self.sample_size = sample_size
        self.seed = seed
        self._moments: list[ClassMoments | None] = [None] * len(self.layers)
        self._samples = LayerSamples(sample_size, seed)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`."""
        maps = [layer_features(outputs, name) for name in self.layers]
        for index, features in enumerate(maps):
            moments = self._moments[index] or ClassMoments(outputs.logits.shape[1])
            self._moments[index] = moments
            moments.update(rows(features), labels_at(labels, features.shape[2:]).flatten())
        if len(maps) > 1:
            self._samples.update(maps, labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = [reduced(moments) for moments in self._moments]
        self._samples.reduce()

    def result(self) -> Statistics:
        """Tensors of each layer, numbered in order, and the weights of the layers.

        `means_I (C, D)`, `counts_I (C,)`, `whitening_I (D, D)`; if relative also
        `overall_mean_I (1, D)` and `overall_whitening_I (D, D)`. With several layers: `weights
        (L,)` and `bias ()`.

        Raises:
            ValueError: too few known pixels for a covariance (the message states how many are
                required), or a singular covariance.
        """
        tensors: dict[str, Tensor] = {}
        for index, name in enumerate(self.layers):
            tensors |= self._layer_tensors(index, name)
        options: dict[str, Any] = {
            "layers": list(self.layers),
            "shrinkage": self.shrinkage,
            "sample_size": self.sample_size,
            "seed": self.seed,
        }
        if len(self.layers) > 1:
            tensors["weights"], tensors["bias"], options["weights"] = self._weights(tensors)
        return Statistics(self.method, tensors, options)

    def _layer_tensors(self, index: int, name: str) -> dict[str, Tensor]:
        moments = self._moments[index]
        if moments is None or not moments.counts.any():
            raise ValueError(f"layer {name!r} needs known pixels to fit on, found none")
        if not self.shrinkage:
            count, num_classes = int(moments.counts.sum()), int((moments.counts > 0).sum())
            check_samples(count, num_classes, moments.means.shape[1], name=name)
        whitening = whitening_matrix(moments.covariance(), shrinkage=self.shrinkage, name=name)
        tensors = {
            f"means_{index}": moments.means.float(),
            f"counts_{index}": moments.counts.long(),
            f"whitening_{index}": whitening.float(),
        }
        if self.relative:
            overall = moments.pooled()
            whitening = whitening_matrix(overall.covariance(), shrinkage=self.shrinkage, name=name)
            tensors[f"overall_mean_{index}"] = overall.means.float()
            tensors[f"overall_whitening_{index}"] = whitening.float()
        return tensors

    def _weights(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor, str]:
        """Weights `(L,)`, bias `()` and the name of the rule that gave them."""
        samples = self._samples
        known = self._sample_scores(samples.known.require(2, "weighting layers"), tensors)
        if not len(samples.outliers):
            deviation, mean = torch.std_mean(known.double(), dim=0)
            weights = 1 / (deviation.clamp(min=1e-12) * len(self.layers))
            return weights.float(), -(mean @ weights).float(), "mean of standardised layers"
        outliers = samples.outliers.require(1, "weighting layers")
        scores = torch.cat([known, self._sample_scores(outliers, tensors)])
        is_outlier = torch.arange(len(scores)) >= len(known)
        weights, bias = fit_layer_weights(scores, is_outlier)
        return weights.float(), bias.float(), "logistic regression"

    def _sample_scores(self, sample: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """Scores `(P, L)` of sampled rows."""
        scores = [
            layer_distance(part, lambda key: tensors[key].cpu(), index, relative=self.relative)
            for index, part in enumerate(self._samples.by_layer(sample))
        ]
        return torch.stack(scores, dim=1)


class RelativeMahalanobisFitter(MahalanobisFitter):
    """As `MahalanobisFitter`, with the Gaussian of all classes together in addition."""

    method = "relative-mahalanobis"
    relative = True


class MultiLayerMahalanobisFitter(MahalanobisFitter):
    """As `MahalanobisFitter`, of at least two layers, which have to be named.

    Raises:
        ValueError: as `MahalanobisFitter`, or there is only one layer.
    """

    method = "multi-mahalanobis"
    least_layers = 2

    def __init__(
        self,
        layers: Sequence[str] = (),
        shrinkage: float = 0.0,
        sample_size: int = 10_000,
        seed: int = 0,
    ) -> None:
        if len(layers) < self.least_layers:
            raise ValueError(
                f"multi-mahalanobis needs at least {self.least_layers} layers, got {list(layers)}; "
                "name them by --layers or fit_options, or use mahalanobis"
            )
        super().__init__(layers, shrinkage, sample_size, seed)
