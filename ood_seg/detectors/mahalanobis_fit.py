"""Class means and tied covariance of activations, and the weights of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ood_seg.detectors.layer_weights import fit_layer_weights
from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.ranks import max_over_ranks
from ood_seg.detectors.reservoir import PixelReservoir, labels_at
from ood_seg.detectors.statistics import Statistics
from ood_seg.detectors.whitened_distance import layer_distance
from ood_seg.detectors.whitening import check_samples, whitening_matrix


class MahalanobisFitter:
    """Means by labelled class and one covariance within the classes, for each layer.

    The covariance is that of all known pixels about their class means, divided by their number.
    Labels are taken at the centres of the cells of an activation. A class that never occurs has
    no mean, and no pixel is near it. Image-level networks have the mean over the picture as
    feature.

    Several layers are weighed on an even, seeded sample of pixels. Where the data hold outliers
    (label 254) the weights are those of a logistic regression of outliers against known pixels
    (`fit_layer_weights`); where they hold none, each layer's distance is standardised on the
    known sample and all count the same. They are learned without input perturbation.

    Args:
        layers: names of the activations.
        shrinkage: share, 0 to 1, of an even diagonal in the covariance, see `whitening_matrix`;
            the remedy for too few samples or a singular covariance.
        sample_size: pixels of the sample, of known and of outlier ones each; one layer takes none.
        seed: fixes the sample.
        method: name of the statistics.
        relative: keep the Gaussian of all classes together as well.

    Raises:
        ValueError: no layer, one twice, or a shrinkage outside of 0 to 1.
    """

    def __init__(
        self,
        layers: Sequence[str],
        *,
        shrinkage: float,
        sample_size: int,
        seed: int,
        method: str,
        relative: bool,
    ) -> None:
        if isinstance(layers, str) or not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers must be names of different layers, got {layers!r}")
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage must be 0 to 1, got {shrinkage}")
        self.layers = tuple(layers)
        self.shrinkage = shrinkage
        self.sample_size = sample_size
        self.seed = seed
        self.method = method
        self.relative = relative
        self._moments: list[ClassMoments | None] = [None] * len(self.layers)
        self._known = PixelReservoir(sample_size, seed)
        self._outliers = PixelReservoir(sample_size, seed, outliers=True)
        self._sizes = torch.zeros(len(self.layers), dtype=torch.int64)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        maps = [layer_features(outputs, name) for name in self.layers]
        for index, features in enumerate(maps):
            moments = self._moments[index] or ClassMoments(outputs.logits.shape[1])
            self._moments[index] = moments
            moments.update(rows(features), labels_at(labels, features.shape[2:]).flatten())
        if len(maps) > 1:
            self._sizes = torch.tensor([features.shape[2:].numel() for features in maps])
            ordered = [maps[index] for index in self._order()]
            self._known.update(ordered, labels)
            self._outliers.update(ordered, labels)

    def reduce(self) -> None:
        self._moments = [reduced(moments) for moments in self._moments]
        self._known.reduce()
        self._outliers.reduce()
        self._sizes = max_over_ranks(self._sizes)

    def result(self) -> Statistics:
        """The tensors of each layer, numbered in order, and what combines them.

        `means_I (C, D)`, `counts_I (C,)`, `whitening_I (D, D)`; where relative also
        `overall_mean_I (1, D)` and `overall_whitening_I (D, D)`. Of several layers: `weights (L,)`
        and `bias ()`.

        Raises:
            ValueError: too few known pixels for a covariance, or a singular one; the message
                says how many it takes.
        """
        tensors: dict[str, Tensor] = {}
        for index, name in enumerate(self.layers):
            tensors |= self._layer_tensors(index, name)
        options = {
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
        count = 0 if moments is None else int(moments.counts.sum())
        if count == 0:
            raise ValueError(f"layer {name!r} takes known pixels to fit on, found none")
        size = moments.means.shape[1]
        if not self.shrinkage:
            check_samples(count, int((moments.counts > 0).sum()), size, name=name)
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

    def _order(self) -> list[int]:
        """Layers as they stand in the rows of the sample: the largest map gives the pixels."""
        return sorted(range(len(self.layers)), key=lambda index: -int(self._sizes[index]))

    def _weights(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor, str]:
        """Weights `(L,)`, bias `()` and how they came about."""
        known = self._sample_scores(self._known.require(2, "weighing layers"), tensors)
        if not len(self._outliers):
            deviation, mean = torch.std_mean(known.double(), dim=0)
            weights = 1 / (deviation.clamp(min=1e-12) * len(self.layers))
            return weights.float(), -(mean @ weights).float(), "mean of standardised layers"
        outliers = self._outliers.require(1, "weighing layers")
        scores = torch.cat([known, self._sample_scores(outliers, tensors)])
        is_outlier = torch.arange(len(scores)) >= len(known)
        weights, bias = fit_layer_weights(scores, is_outlier)
        return weights.float(), bias.float(), "logistic regression"

    def _sample_scores(self, sample: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """Scores `(P, L)` of sampled rows, in the order of the layers."""
        order = self._order()
        widths = [tensors[f"means_{index}"].shape[1] for index in order]
        scores = torch.empty(len(sample), len(order))
        for index, part in zip(order, sample.split(widths, dim=1), strict=True):
            scores[:, index] = layer_distance(
                part, lambda key: tensors[key].cpu(), index, relative=self.relative
            )
        return scores
