"""Density of activations under a normalising flow: the DSN, DMN and DLR rows of Fishyscapes.

activation -> principal components, variance 1 -> `AffineFlow` -> -log density, one map a layer
                                                       `-> single | minimum | logistic -> score
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ood_seg.detectors.base import FittedDetector, Fitter
from ood_seg.detectors.flow import AffineFlow, train_flow
from ood_seg.detectors.layer_weights import fit_layer_weights
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import layer_features, resized, rows
from ood_seg.detectors.reservoir import PixelReservoir, from_any_rank
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.precision import without_autocast

_CHUNK = 1 << 16
# Directions in which known data vary less than this share of their strongest are left out.
_LEAST_VARIANCE = 1e-8
_COMBINATIONS = ("single", "minimum", "logistic")


def principal_components(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean `(D,)` and matrix `(D, d)` that turn rows into uncorrelated ones of variance 1.

    Args:
        values: `(P, D)`.
        count: greatest number d of components, the strongest first; those in which the rows do
            not vary are left out.

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
            "a density takes activations that vary in at least two directions, these vary in "
            f"{int(varies.sum())}; name another layer"
        )
    return mean.float(), (directions[:, varies] / variances[varies].sqrt()).float()


class EmbeddingDensity(FittedDetector):
    """Negative log density of the activations, of one layer or of several together.

    Source: Blum et al., "The Fishyscapes Benchmark: Measuring Blind Spots in Semantic
    Segmentation", IJCV 2021, learned embedding density. With `N_l` the negative log density of a
    pixel's principal components at layer l and `L_l` its mean over known data:

        single (DSN):    N_l                                       of one layer
        minimum (DMN):   min_l (N_l - L_l)                         "minimum NLL"
        logistic (DLR):  sum_l w_l N_l + b                         log odds of an outlier

    The minimum is high only where all layers find a pixel unlikely: a known pixel needs to look
    usual at one layer alone. `N_l` grows with the number of components, so that without `L_l` the
    layer with the fewest would nearly always be the lowest; spreads are left as they are. This
    follows the paper's words and was not compared with code of its authors. Maps of several layers
    are interpolated to the finest. The weights of the last are fitted on outlier pixels (254),
    where those were seen in the fit.

    Args:
        statistics: a file of `ood-seg fit`, or what it holds.
        combine: `single`, `minimum` or `logistic`.
        layer: of `single`; None: the first that was fitted.

    Raises:
        ValueError: see `FittedDetector`; another combination; a layer that was not fitted; or
            `logistic` without weights.
    """

    method = "flow"

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
                f"{self.origin} hold no layer weights, because no outlier pixels were seen; fit "
                "with pasted outliers, or use combine='minimum'"
            )
        fitted = tuple(self.options["layers"])
        layer = fitted[0] if layer is None else layer
        if layer not in fitted:
            raise ValueError(f"the flow was fitted on the layers {fitted}, got {layer!r}")
        self.combine = combine
        self.layers = (layer,) if combine == "single" else fitted
        self._numbers = [fitted.index(name) for name in self.layers]
        self.flows = nn.ModuleList(self._flow(number) for number in self._numbers)

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)` at the resolution of the finest layer."""
        maps = [
            self._layer_map(outputs, name, number, flow)
            for name, number, flow in zip(self.layers, self._numbers, self.flows, strict=True)
        ]
        if len(maps) > 1 and maps[0].ndim == 3:
            size = max((one.shape[1:] for one in maps), key=math.prod)
            maps = [
                resized(one[:, None], size, align_corners=network.align_corners)[:, 0]
                for one in maps
            ]
        stacked = torch.stack(maps, dim=-1)
        if self.combine == "single":
            return stacked[..., 0]
        if self.combine == "minimum":
            return (stacked - self.mean_nll.to(stacked)).amin(dim=-1)
        return (stacked * self.weights.to(stacked)).sum(dim=-1) + self.bias.to(stacked)

    def extra_repr(self) -> str:
        return f"combine={self.combine!r}, layers={self.layers}"

    @classmethod
    def fitter(cls, **options) -> Fitter:
        """See `EmbeddingDensityFitter`."""
        return EmbeddingDensityFitter(**options)

    def _layer_map(self, outputs: Outputs, name: str, number: int, flow: AffineFlow) -> Tensor:
        """Negative log density of one layer, `(N, *)` float32."""
        features = layer_features(outputs, name)
        mean, matrix = getattr(self, f"mean_{number}"), getattr(self, f"matrix_{number}")
        found = _nll(flow, rows(features).float(), mean, matrix)
        return found.view(features.shape[0], *features.shape[2:])

    def _flow(self, number: int) -> AffineFlow:
        """The flow of a layer, its weights as buffers that are in no checkpoint."""
        width = getattr(self, f"matrix_{number}").shape[1]
        flow = AffineFlow(width, self.options["couplings"], self.options["hidden"])
        flow.load_vector(getattr(self, f"flow_{number}"))
        for part in flow.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                delattr(part, name)
                part.register_buffer(name, weight.detach().clone(), persistent=False)
        return flow


class EmbeddingDensityFitter:
    """Samples the activations of known pixels, evenly, and trains a flow on each layer's.

    The density is that of the strongest principal components, scaled to variance 1: narrow and
    dead channels would make it singular, and a constant factor changes no ranking. Training takes
    place in `result`.

    Args:
        layers: whose activations; the first is what `single` takes.
        components: greatest number of principal components.
        sample_size: greatest number of known pixels, and of outlier pixels for the weights.
        couplings: of each flow.
        hidden: width of their hidden layers.
        steps: batches of 1024 pixels that each flow is trained on.
        seed: of sample, first weights and batches.
        on_step: told layer, step and number of steps, for a progress bar.

    Raises:
        ValueError: for no layer, or one named twice.
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
            raise ValueError(f"layers must be a list of different names, got {layers!r}")
        self.layers = tuple(layers)
        self.components = components
        self.shape = {"couplings": couplings, "hidden": hidden}
        self.steps = steps
        self.seed = seed
        self.on_step = on_step
        self.known = PixelReservoir(sample_size, seed)
        self.outliers = PixelReservoir(sample_size, seed, outliers=True)
        # Number and channels of each layer, the finest first, from the first batch on.
        self._columns: list[tuple[int, int]] | None = None

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch, see `Fitter`; outlier pixels are for the layer weights."""
        maps = [outputs.features[name] for name in self.layers]
        if self._columns is None:
            # The reservoir takes its pixels on the first map's grid.
            sizes = [math.prod(one.shape[2:]) for one in maps]
            order = sorted(range(len(maps)), key=lambda index: -sizes[index])
            self._columns = [(index, maps[index].shape[1]) for index in order]
        ordered = [maps[index] for index, _ in self._columns]
        self.known.update(ordered, labels)
        if len(self.layers) > 1:
            self.outliers.update(ordered, labels)

    def reduce(self) -> None:
        """See `Fitter`."""
        self.known.reduce()
        self.outliers.reduce()
        self._columns = from_any_rank(self._columns)

    def result(self) -> Statistics:
        """Tensors `mean_l (D,)`, `matrix_l (D, d)`, `flow_l` of each layer l, `mean_nll (L,)`.

        Of several layers, and where outlier pixels were seen, also `weights (L,)` and `bias ()`.

        Raises:
            ValueError: fewer than 1000 known pixels, activations that are not finite or hardly
                vary, or all of the activation constant.
        """
        known = self._by_layer(self.known.require(1000, "the flow's training"))
        outliers = None
        if len(self.outliers):
            outliers = self._by_layer(self.outliers.require(1, "weighing layers"))
        tensors, known_nll, outlier_nll = {}, [], []
        for number, name in enumerate(self.layers):
            mean, matrix = principal_components(known[number], self.components)
            flow = self._trained(name, (known[number] - mean) @ matrix)
            with torch.no_grad():
                known_nll.append(_nll(flow, known[number], mean, matrix))
                if outliers:
                    outlier_nll.append(_nll(flow, outliers[number], mean, matrix))
            tensors |= {f"mean_{number}": mean, f"matrix_{number}": matrix}
            tensors[f"flow_{number}"] = flow.to_vector()
        tensors["mean_nll"] = torch.stack([one.mean() for one in known_nll])
        if outliers:
            weights, bias = _balanced_weights(
                torch.stack(known_nll, 1), torch.stack(outlier_nll, 1)
            )
            tensors |= {"weights": weights.float(), "bias": bias.float()}
        options = {
            "layers": list(self.layers),
            **self.shape,
            "steps": self.steps,
            "seed": self.seed,
            "pixels": len(self.known),
            "outlier_pixels": len(self.outliers),
        }
        return Statistics(EmbeddingDensity.method, tensors, options)

    def _by_layer(self, values: Tensor) -> list[Tensor]:
        order, widths = zip(*self._columns, strict=True)
        parts = dict(zip(order, values.split(widths, dim=1), strict=True))
        return [parts[number] for number in range(len(self.layers))]

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


@without_autocast
def _nll(flow: AffineFlow, values: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
    """Negative log density of activations `(P, D)`, in blocks, `(P,)`."""
    parts = [-flow.log_density((some - mean) @ matrix) for some in values.split(_CHUNK)]
    return torch.cat(parts) if parts else values.new_empty(0)


def _balanced_weights(known: Tensor, outliers: Tensor) -> tuple[Tensor, Tensor]:
    """Layer weights from as many known as outlier pixels; both are in a random order."""
    count = min(len(known), len(outliers))
    scores = torch.cat([known[:count], outliers[:count]])
    return fit_layer_weights(scores, torch.arange(2 * count) >= count)
