"""The linear layer that maps penultimate activations to logits, and the mean activation."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ood_seg.detectors.moments import ClassMoments, reduced
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, rows
from ood_seg.detectors.ranks import from_any_rank
from ood_seg.detectors.reservoir import labels_at
from ood_seg.detectors.statistics import Statistics
from ood_seg.labels import split_labels


def linear_classifier(network: Network) -> nn.Module:
    """The classifier, if each logit is a linear function of one activation vector.

    Raises:
        ValueError: the classifier is neither a linear layer nor a 1x1 convolution.
    """
    layer = network.layer(network.classifier or PENULTIMATE)
    pointwise = (
        isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        and layer.groups == 1
        and all(size == 1 for size in (*layer.kernel_size, *layer.stride))
        and not any(layer.padding if isinstance(layer.padding, tuple) else ())
    )
    if not (pointwise or isinstance(layer, nn.Linear)):
        raise ValueError(
            "the score needs a classifier that is a linear layer or a 1x1 convolution "
            f"without groups, stride or padding; {network.classifier!r} is {layer}"
        )
    return layer


def classifier_weights(network: Network) -> tuple[Tensor, Tensor]:
    """Weight `(C, D)` and bias `(C,)` of a linear classifier's class channels, in float64.

    Raises:
        ValueError: see `linear_classifier`.
    """
    layer = linear_classifier(network)
    weight = layer.get_parameter("weight").detach().flatten(1).double()
    bias = weight.new_zeros(len(weight))
    if layer.bias is not None:
        bias = layer.get_parameter("bias").detach().double()
    count = network.num_classes
    return weight[:count], bias[:count]


class ClassifierMeanFitter:
    """Mean penultimate activation of all known pixels, and the classifier's weights.

    Labels only select the known pixels.
    """

    method: ClassVar[str]
    layers = (PENULTIMATE,)

    def __init__(self) -> None:
        self._moments: ClassMoments | None = ClassMoments(1, scatter="none")
        self._classifier: tuple[Tensor, Tensor] | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`.

        Raises:
            ValueError: see `linear_classifier`.
        """
        if self._classifier is None:
            weight, bias = classifier_weights(network)
            self._classifier = weight.cpu(), bias.cpu()
        features = layer_features(outputs, PENULTIMATE)
        known = split_labels(labels_at(labels, features.shape[2:]).flatten())[0]
        assert self._moments is not None
        self._moments.update(rows(features)[known])

    def reduce(self) -> None:
        """See `Fitter`."""
        self._moments = reduced(self._moments)
        self._classifier = from_any_rank(self._classifier)

    def result(self) -> Statistics:
        """Tensors `mean (D,)`, `weight (C, D)` and `bias (C,)`.

        Raises:
            ValueError: there is no known pixel, or activations are not finite.
        """
        moments = self._moments
        if moments is None or self._classifier is None or not moments.counts.any():
            raise ValueError(f"{self.method} needs at least one known pixel, found none")
        mean = moments.means[0].float().cpu()
        if not mean.isfinite().all():
            raise ValueError(
                f"{self.method}: some activations are infinite or NaN; run the network in float32"
            )
        weight, bias = self._classifier
        tensors = {"mean": mean, "weight": weight.float(), "bias": bias.float()}
        return Statistics(self.method, tensors, {"pixels": int(moments.counts.sum())})
