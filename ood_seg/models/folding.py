"""Batch norms of a frozen network folded into the convolutions before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

from ood_seg.precision import without_autocast

# Rounding stays far below this share of the largest output; a norm folded wrongly does not.
_TOLERANCE = 1e-3


@torch.no_grad()
def folded(
    network: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], inputs: Tensor
) -> nn.Module:
    """A network that computes the same, up to rounding, in less time.

    Where a batch norm in evaluation mode alone reads the output of a convolution, both are one
    convolution. Which do is observed while the network runs once, so nothing has to be known about
    it.

    Args:
        network: in evaluation mode; left as it is.
        run: returns the output of a network for inputs.
        inputs: to run it with; the output of the copy is compared with that of the network.

    Returns:
        A copy, or the network itself where the copy does not give the same output.
    """
    run = without_autocast(run)
    with _Observer(network) as observer:
        expected = run(network, inputs)
    copied = copy.deepcopy(network)
    for convolution, norm in observer.pairs:
        _fold(copied, convolution, norm)
    difference = (run(copied, inputs) - expected).abs().amax()
    return copied if difference <= _TOLERANCE * expected.abs().amax() else network


class _Observer(TorchFunctionMode):
    """Observes which batch norms read convolutions while a network runs inside the context."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names: dict[Any, str] = {
            module: name
            for name, module in network.named_modules()
            if _is_convolution(module) or _is_fixed_norm(module)
        }
        self._outputs: dict[int, tuple[Any, Tensor]] = {}  # holds them: no id recurs
        self._source: dict[Any, Any] = {}
        self._calls: Counter[Any] = Counter()
        self._reads: Counter[Any] = Counter()
        self._inside_norm = False
        self._handles: list[Any] = []

    def __enter__(self) -> _Observer:
        for module in self._names:
            self._handles += [
                module.register_forward_pre_hook(self._before),
                module.register_forward_hook(self._after),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names of convolutions, and of the norms that alone read their output."""
        return [
            (self._names[convolution], self._names[norm])
            for norm, convolution in self._source.items()
            if self._calls[norm] == self._calls[convolution] == 1
            and self._reads[convolution] == 0
            and convolution.out_channels == norm.num_features
        ]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if not self._inside_norm:
            for value in _flat((args, kwargs or {})):
                if id(value) in self._outputs:
                    self._reads[self._outputs[id(value)][0]] += 1
        return func(*args, **(kwargs or {}))

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, _BatchNorm):
            self._inside_norm = True
            if id(inputs[0]) in self._outputs:
                self._source[module] = self._outputs[id(inputs[0])][0]

    def _after(self, module: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
        self._calls[module] += 1
        if isinstance(module, _BatchNorm):
            self._inside_norm = False
        else:
            self._outputs[id(output)] = (module, output)


def _flat(value: Any) -> Iterable[Any]:
    """What nested sequences and mappings hold."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, (tuple, list)):
        return [value]
    return [inner for one in value for inner in _flat(one)]


def _is_convolution(module: nn.Module) -> bool:
    """Whether the weights of a convolution are plain parameters that a factor can be put into."""
    if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return False
    simple = module.groups == 1 or not isinstance(module, nn.ConvTranspose2d)
    return simple and "weight" in module._parameters and "bias" in module._parameters


def _is_fixed_norm(module: nn.Module) -> bool:
    """Whether a batch norm is an affine map of each channel."""
    if not isinstance(module, _BatchNorm) or module.training:
        return False
    return module.running_mean is not None and module.running_var is not None


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    """Put a norm into a convolution; computed in float64, so that it is rounded once."""
    conv: Any = network.get_submodule(convolution)
    folded_norm: Any = network.get_submodule(norm)
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (_double(getattr(folded_norm, name)) for name in names)
    fused = fuse_conv_bn_weights(
        conv.weight.double(),
        _double(conv.bias),
        mean,
        variance,
        folded_norm.eps,
        scale,
        shift,
        isinstance(conv, nn.ConvTranspose2d),
    )
    for name, value in zip(("weight", "bias"), fused, strict=True):
        rounded = value.detach().to(conv.weight.dtype)
        setattr(conv, name, nn.Parameter(rounded, requires_grad=False))
    parent, _, last = norm.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())


def _double(value: Tensor | None) -> Any:
    return None if value is None else value.double()
