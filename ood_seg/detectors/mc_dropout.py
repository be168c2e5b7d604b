"""MC dropout: how much a network's predictions vary when dropout stays on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ood_seg.detectors.base import Detector
from ood_seg.detectors.network import Network
from ood_seg.detectors.prediction_average import PredictionAverage, check_uncertainty

_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KINDS = (nn.Dropout, *_WHOLE_CHANNELS)


class MCDropout(Detector):
    """Uncertainty over predictions with random dropout, each a sample of the network's weights.

    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; Mukhoti and Gal,
    "Evaluating Bayesian Deep Learning Methods for Semantic Segmentation", 2018 (Bayesian DeepLab).

    The dropout layers of the network drop values, and nothing else of it changes: it stays in
    evaluation mode, with its batch norm statistics. One sample drops the same for all images of a
    batch, as one network would, so that scores do not depend on the batch. The seed fixes the
    samples, on one kind of device, and no global random state is touched.

    The logits that come with the scores are those of the network without dropout: labels do not
    depend on which score is chosen. It costs `samples + 1` forward passes.

    Args:
        samples: number of predictions with dropout.
        score: `predictive-entropy` or `mutual-information`, see `PredictionAverage`.
        seed: of what is dropped.

    Raises:
        ValueError: another score, or too few samples for it.
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
            ValueError: the network has no dropout layer that drops anything.
        """
        logits = network(images).logits
        average = PredictionAverage()
        generator = torch.Generator(images.device).manual_seed(self.seed)
        with active_dropout(network.module, generator):
            for _ in range(self.samples):
                average.add(network(images).logits)
        return logits, average.uncertainty(self.score)

    def check_model(self, network: Network) -> None:
        """Raise unless the network has dropout.

        Raises:
            ValueError: see `active_dropout`.
        """
        _dropout_layers(network.module)

    def extra_repr(self) -> str:
        return f"samples={self.samples}, score={self.score!r}, seed={self.seed}"


@contextlib.contextmanager
def active_dropout(module: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Make the dropout layers of a network in evaluation mode drop, while the context is open.

    Args:
        module: the network; its mode does not change.
        generator: draws what is dropped, on the device of the activations.

    Raises:
        ValueError: it has no dropout layer with `p > 0`, or none of them took part.
    """
    ran = False

    def drop(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
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
            f"no dropout layer of {type(module).__name__} took part in the forward pass, so that "
            "MC dropout has nothing to sample"
        )


def _dropout_layers(module: nn.Module) -> list[nn.Module]:
    layers = [one for one in module.modules() if isinstance(one, _KINDS)]
    active = [one for one in layers if one.p > 0]
    if not active:
        found = f"{len(layers)} with p = 0" if layers else "none"
        raise ValueError(
            f"MC dropout takes a network with dropout layers (nn.Dropout, nn.Dropout2d, ...), "
            f"{type(module).__name__} has {found}; set dropout_ratio of its decode head to what it "
            "was trained with, or use another score"
        )
    return active
