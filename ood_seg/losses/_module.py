"""Module form of the losses: a function, its options and a weight."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ood_seg.losses.balance import checked_prior


class LossModule(nn.Module):
    """A loss function with its options and a weight, for `EnergyHead(losses=[...])`.

    A subclass sets `function` and a default `loss_name`. The options are the keyword arguments of
    the function.

    Args:
        loss_weight: factor of the loss.
        loss_name: key in the training log; must start with `loss`.
        **options: keyword arguments of the function.

    Raises:
        TypeError: an option is unknown, or a required one is missing.
    """

    function: ClassVar[Callable[..., Tensor]]
    loss_name: str

    def __init__(
        self, *, loss_weight: float = 1.0, loss_name: str | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        if loss_name is not None:
            self.loss_name = loss_name
        self.options = self._completed(options)

    def _completed(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options completed by the function's defaults."""
        parameters = inspect.signature(type(self).function).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        unknown = sorted(set(options) - set(defaults))
        completed = {**defaults, **options}
        missing = [name for name, value in completed.items() if value is inspect.Parameter.empty]
        if unknown or missing:
            problems = {"unknown": unknown, "missing": missing}
            listed = "; ".join(f"{k}: {', '.join(v)}" for k, v in problems.items() if v)
            raise TypeError(
                f"options of {type(self).__name__}: {listed}; it takes {', '.join(defaults)}, "
                "loss_weight and loss_name"
            )
        return completed

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.loss_weight * type(self).function(*inputs, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


class PriorLossModule(LossModule):
    """A loss that requires an outlier prior, from the config, `OutlierPriorHook` or `set_prior`.

    Args:
        prior: `P(j)`, one non-negative number per class; None: set later.
        **options: see `LossModule`.

    Raises:
        ValueError: see `checked_prior`; also on a forward pass before a prior is set.
    """

    prior: Tensor | None

    def __init__(self, prior: Sequence[float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        # Not in the state dict, so that checkpoint keys stay those of the plain segmentor.
        self.register_buffer("prior", None, persistent=False)
        if prior is not None:
            self.set_prior(prior)

    def set_prior(self, prior: Tensor | Sequence[float]) -> None:
        """Set the prior; its length is checked against the logits when the loss is computed."""
        prior = torch.as_tensor(prior)
        device = None if self.prior is None else self.prior.device
        self.prior = checked_prior(prior, prior.numel()).float().to(device)

    def required_prior(self, logits: Tensor) -> Tensor:
        """The prior on the device of the logits.

        Raises:
            ValueError: no prior is set yet.
        """
        if self.prior is None:
            raise ValueError(
                f"{type(self).__name__} has no prior: give prior=[...] in the config, or add "
                "dict(type='OutlierPriorHook') to custom_hooks to measure it before training"
            )
        return self.prior.to(logits.device)

    def forward(self, *inputs: Tensor) -> Tensor:
        return super().forward(*inputs, self.required_prior(inputs[0]))
