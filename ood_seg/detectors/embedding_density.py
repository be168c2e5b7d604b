"""Density of activations under a normalising flow: the DSN, DMN and DLR rows of Fishyscapes.

activation -> principal components, variance 1 -> `AffineFlow` -> -log density, one map per layer
                                                       `-> single | minimum | logistic -> score
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from ood_seg.detectors.base import FittedDetector
from ood_seg.detectors.flow import AffineFlow, num_weights, train_flow
from ood_seg.detectors.layer_samples import LayerSamples
from ood_seg.detectors.layer_weights import fit_layer_weights
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import at_largest_size, layer_features, rows
from ood_seg.detectors.sections import real
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import without_autocast

_CHUNK = 1 << 16
# Directions whose variance is below this share of the largest are left out.
_LEAST_VARIANCE = 1e-8
_COMBINATIONS = ("single", "minimum", "logistic")


def principal_components(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean `(D,)` and matrix `(D, d)` that map rows to uncorrelated components of variance 1.

    Args:
        values: `(P, D)`.
        count: maximum number d of components, the strongest first; directions in which the rows
            do not vary are left out.

    Raises:
        ValueError: the rows vary in fewer than two directions.
    """
    mean = values.double().mean(dim=0)
    covariance = (values.double() - mean).T.cov(correction=0)
    variances, directions = torch.linalg.eigh(covariance)
    variances, directions = variances.flip(0)[:count], directions.flip(1)[:, :count]
    varies = (variances > _LEAST_VARIANCE * variances[0]) & (variances > 0)
    if varies.sum() < 2:
        raise ValueError(
            "a density needs activations that vary in at least two directions, these vary in "
            f"{int(varies.sum())}; choose another layer"
        )
    return mean.float(), (directions[:, varies] / variances[varies].sqrt()).float()


class EmbeddingDensityFitter:
    """Samples the activations of known pixels uniformly, and trains a flow for each layer.

    The density is that of the strongest principal components, scaled to variance 1: narrow and
    dead channels would make it singular, and a constant factor does not change the ranking. The
    flows are trained in `result`.

    Args:
        layers: names of the activations; the first is the default layer of `single`.
        components: maximum number of principal components.
        sample_size: maximum number of known pixels, and of outlier pixels for the weights.
        couplings: number of couplings of each flow.
        hidden: width of their hidden layers.
        steps: number of batches of 1024 pixels that each flow is trained on.
        seed: of the sample, the initial weights and the batches.
        on_step: called with layer, step and number of steps, for a progress bar.

    Raises:
        ValueError: `layers` is empty or has duplicates.
    """

    def __init__(
        self,
        layers: Sequence[str] = (PENULTIMATE,),
        components: int = 64,
        sample_size: int = 50000,
        couplings: int = 6,
        hidden: int = 64,
        steps: int = 1000,
        seed: int = 0,
        on_step: Callable[[str, int, int], None] = lambda layer, step, steps: None,
    ) -> None:
        if not layers or isinstance(layers, str) or len(set(layers)) < len(layers):
            raise ValueError(f"layers must be a list of distinct names, got {layers!r}")
        self.layers = tuple(layers)
        self.components = components
        self.shape = {"couplings": couplings, "hidden": hidden}
        self.steps = steps
        self.seed = seed
        self.on_step = on_step
        self._samples = LayerSamples(sample_size, seed)

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`; outlier pixels are used for the layer weights."""
        self._samples.update([outputs.features[name] for name in self.layers], labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self._samples.reduce()

    def result(self) -> Statistics:
        """Tensors `mean_l (D,)`, `matrix_l (D, d)`, `flow_l` of each layer l, `mean_nll (L,)`.

        With several layers and outlier pixels in the data also `weights (L,)` and `bias ()`.

        Raises:
            ValueError: fewer than 1000 known pixels, or activations that are not finite or vary in
                fewer than two directions.
        """
        samples = self._samples
        known = samples.by_layer(samples.known.require(1000, "the flow's training"))
        outliers: list[Tensor] = []
        if len(samples.outliers):
            outliers = samples.by_layer(samples.outliers.require(1, "weighting layers"))
        tensors: dict[str, Tensor] = {}
        known_nll, outlier_nll = [], []
        for number, name in enumerate(self.layers):
            mean, matrix = principal_components(known[number], self.components)
            flow = self._trained(name, (known[number] - mean) @ matrix)
            with torch.no_grad():
                known_nll.append(_nll(flow, known[number], mean, matrix))
                if outliers:
                    outlier_nll.append(_nll(flow, outliers[number], mean, matrix))
            tensors |= {f"mean_{number}": mean, f"matrix_{number}": matrix}
            tensors[f"flow_{number}"] = flow.to_vector()
        tensors["mean_nll"] = torch.stack([values.mean() for values in known_nll])
        if outliers:
            tensors |= _balanced_weights(torch.stack(known_nll, 1), torch.stack(outlier_nll, 1))
        options = {
            "layers": list(self.layers),
            **self.shape,
            "steps": self.steps,
            "seed": self.seed,
            "pixels": len(samples.known),
            "outlier_pixels": len(samples.outliers),
        }
        return Statistics(EmbeddingDensity.method, tensors, options)

    def _trained(self, layer: str, values: Tensor) -> AffineFlow:
        with torch.inference_mode(False):
            flow = AffineFlow(values.shape[1], **self.shape, seed=self.seed)
        return train_flow(
            flow,
            values,
            steps=self.steps,
            seed=self.seed,
            on_step=lambda step, steps: self.on_step(layer, step, steps),
        )


class EmbeddingDensity(FittedDetector):
    """Negative log density of the activations, of one layer or of several combined.

    Source: Blum et al., "The Fishyscapes Benchmark: Measuring Blind Spots in Semantic
    Segmentation", IJCV 2021, learned embedding density. With `N_l` the negative log density of a
    pixel's principal components at layer l and `L_l` its mean over in-distribution data:

        single (DSN):    N_l                                       of one layer
        minimum (DMN):   min_l (N_l - L_l)                         "minimum NLL"
        logistic (DLR):  sum_l w_l N_l + b                         log odds of an outlier

    The minimum is high only if a pixel is unlikely at all layers. `N_l` grows with the number of
    components, so that without `L_l` the layer with the fewest components would nearly always
    be the minimum; the spreads are not adjusted. This follows the paper's description and was not
    compared with code of its authors. Maps of several layers are interpolated to the largest. The
    weights of `logistic` are fitted on outlier pixels (254), if the fit had any.

    Args:
        statistics: see `FittedDetector`.
        combine: `single`, `minimum` or `logistic`.
        layer: for `single`; None: the first that was fitted.

    Raises:
        ValueError: see `FittedDetector`; the combination is unknown, the layer was not fitted, or
            the statistics have no weights for `logistic`.
    """

    method = "flow"
    fitter = EmbeddingDensityFitter
    entries: ClassVar = {
        "mean_*": real("D*"),
        "matrix_*": real("D*", "d*"),
        "flow_*": real("W*"),
        "mean_nll": real("L"),
        "weights": real("L", present="together"),
        "bias": real(present="together"),
    }
    read_options: ClassVar = {"layers": "names", "couplings": "count", "hidden": "count"}
    mean_nll: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(
        self,
        statistics: str | Path | StatisticsFile,
        combine: str = "single",
        layer: str | None = None,
    ) -> None:
        super().__init__(statistics)
        if combine not in _COMBINATIONS:
            raise ValueError(f"combine must be one of {_COMBINATIONS}, got {combine!r}")
        if combine == "logistic" and not hasattr(self, "weights"):
            raise ValueError(
                f"{self.origin} have no layer weights, because the fit had no outlier pixels; fit "
                "with pasted outliers, or use combine='minimum'"
            )
        fitted = tuple(self.options["layers"])
        for number in range(len(fitted)):
            self._check_weights(number)
        layer = fitted[0] if layer is None else layer
        if layer not in fitted:
            raise ValueError(f"layer must be one of the fitted {fitted}, got {layer!r}")
        self.combine = combine
        self.layers = (layer,) if combine == "single" else fitted
        self._numbers = [fitted.index(name) for name in self.layers]
        self.flows = nn.ModuleList(self._flow(number) for number in self._numbers)

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the largest layer."""
        maps = []
        for name, number, flow in zip(self.layers, self._numbers, self.flows, strict=True):
            features = layer_features(outputs, name)
            mean, matrix = (self.get_buffer(f"{part}_{number}") for part in ("mean", "matrix"))
            values = _nll(flow, rows(features).float(), mean, matrix)
            maps.append(values.view(features.shape[0], *features.shape[2:]))
        stacked = torch.stack(at_largest_size(maps, align_corners=network.align_corners), dim=-1)
        if self.combine == "single":
            return stacked[..., 0]
        if self.combine == "minimum":
            return (stacked - self.mean_nll.to(stacked)).amin(dim=-1)
        return (stacked * self.weights.to(stacked)).sum(dim=-1) + self.bias.to(stacked)

    def extra_repr(self) -> str:
        return f"combine={self.combine!r}, layers={self.layers}"

    def _shape(self, number: int) -> tuple[int, int, int]:
        """Arguments of the flow of a layer."""
        width = self.get_buffer(f"matrix_{number}").shape[1]
        return width, self.options["couplings"], self.options["hidden"]

    def _check_weights(self, number: int) -> None:
        """Raise unless the flow of a layer has the weights of its shape, before it is built."""
        given, shape = len(self.get_buffer(f"flow_{number}")), self._shape(number)
        if given != num_weights(*shape):
            width, couplings, hidden = shape
            raise ValueError(
                f"{self.origin}: section {self.method!r}: 'flow_{number}' must hold "
                f"{num_weights(*shape)} weights ({couplings} couplings, hidden width {hidden}, "
                f"{width} components), got {given}; `ood-seg fit` writes a new one"
            )

    def _flow(self, number: int) -> AffineFlow:
        """The flow of a layer, its weights as non-persistent buffers."""
        flow = AffineFlow(*self._shape(number)).load_vector(self.get_buffer(f"flow_{number}"))
        for part in flow.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                delattr(part, name)
                part.register_buffer(name, weight.detach().clone(), persistent=False)
        return flow


@without_autocast
def _nll(flow: nn.Module, values: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
    """Negative log density of activations `(P, D)`, in blocks, `(P,)`."""
    assert isinstance(flow, AffineFlow)
    parts = [-flow.log_density((part - mean) @ matrix) for part in values.split(_CHUNK)]
    return torch.cat(parts) if parts else values.new_empty(0)


def _balanced_weights(known: Tensor, outliers: Tensor) -> dict[str, Tensor]:
    """Layer weights from equally many known and outlier pixels; both are in random order."""
    count = min(len(known), len(outliers))
    scores = torch.cat([known[:count], outliers[:count]])
    weights, bias = fit_layer_weights(scores, torch.arange(2 * count) >= count)
    return {"weights": weights.float(), "bias": bias.float()}
