"""MC dropout: variation of a network's predictions under active dropout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ood_seg.detectors.base import Detector
from ood_seg.detectors.network import Network
from ood_seg.detectors.prediction_average import PredictionAverage, check_uncertainty

_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KINDS = (nn.Dropout, *_WHOLE_CHANNELS)


class MCDropout(Detector):
    """Uncertainty over several predictions with random dropout, each a sample of the weights.

    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; Mukhoti and Gal,
    "Evaluating Bayesian Deep Learning Methods for Semantic Segmentation", 2018 (Bayesian DeepLab).

    Only the dropout layers are activated: the network stays in evaluation mode and keeps its
    batch norm statistics. A sample drops the same values in all images of a batch, so that scores
    do not depend on the batch. The samples are determined by the seed and the type of device; no
    global random state is used.

    The logits returned with the scores are those without dropout, so that labels do not depend on
    the score. The cost is `samples + 1` forward passes.

    Args:
        samples: number of predictions with dropout.
        score: `predictive-entropy` or `mutual-information`, see `PredictionAverage`.
        seed: of the dropout masks.

    Raises:
        ValueError: the score is unknown, or there are too few samples for it.
    """

    needs = "network"

    def __init__(self, samples: int = 8, score: str = "predictive-entropy", seed: int = 0) -> None:
        super().__init__()
        check_uncertainty(score, samples)
        self.samples = samples
        self.score = score
        self.seed = seed

    @torch.no_grad()
    def forward(self, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `(N, C, *)` without dropout, and scores `(N, *)` in `[0, log C]`.

        Raises:
            ValueError: see `active_dropout`.
        """
        logits = network(images).logits
        generator = torch.Generator(images.device).manual_seed(self.seed)
        with active_dropout(network.module, generator):
            average = PredictionAverage.of(network(images).logits for _ in range(self.samples))
        return logits, average.uncertainty(self.score)

    def check_model(self, network: Network) -> None:
        """Raise `ValueError` unless the network has an active dropout layer."""
        _dropout_layers(network.module)

    def extra_repr(self) -> str:
        return f"samples={self.samples}, score={self.score!r}, seed={self.seed}"


@contextlib.contextmanager
def active_dropout(module: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Context manager: dropout layers are active although the network is in evaluation mode.

    Args:
        module: the network; its mode does not change.
        generator: draws the dropout masks, on the device of the activations.

    Raises:
        ValueError: the network has no dropout layer with `p > 0`, or none was executed.
    """
    ran = False

    def drop(layer: Any, _inputs: object, output: Tensor) -> Tensor:
        nonlocal ran
        ran = True
        keep = 1 - layer.p
        shape = [1, *output.shape[1:]]
        if isinstance(layer, _WHOLE_CHANNELS):
            shape[2:] = [1] * (output.ndim - 2)
        mask = torch.empty(shape, dtype=output.dtype, device=output.device)
        mask.bernoulli_(keep, generator=generator)
        return output * (mask / keep if keep else mask)

    with contextlib.ExitStack() as hooks:
        for layer in _dropout_layers(module):
            hooks.callback(layer.register_forward_hook(drop).remove)
        yield
    if not ran:
        raise ValueError(
            f"no dropout layer of {type(module).__name__} was executed in the forward pass, so "
            "MC dropout has nothing to sample"
        )


def _dropout_layers(module: nn.Module) -> Sequence[nn.Module]:
    layers = [layer for layer in module.modules() if isinstance(layer, _KINDS)]
    active = [layer for layer in layers if layer.p > 0]
    if not active:
        found = f"{len(layers)} with p = 0" if layers else "none"
        raise ValueError(
            f"MC dropout needs a network with dropout layers (nn.Dropout, nn.Dropout2d, ...), "
            f"{type(module).__name__} has {found}; set dropout_ratio of its decode head to the "
            "value it was trained with, or use another score"
        )
    return active
