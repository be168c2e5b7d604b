"""Formulas shared by the energy and balanced energy losses and their sums with cross entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ood_seg.labels import split_labels
from ood_seg.losses._common import (
    check_logits,
    check_reduction,
    class_labels,
    global_max,
    global_sum,
    means,
)
from ood_seg.losses._logsumexp import pixel_sums
from ood_seg.losses.balance import checked_prior, log_prior_power


class Balance(NamedTuple):
    """Options that raise margins and weights of outlier pixels; see `balanced_energy_loss`."""

    prior: Tensor | Sequence[float] | None = None
    alpha: float = 0.0
    gamma: float = 0.0
    margin_gamma: float | None = None
    weight_gamma: float | None = None
    detach_balance: bool = False

    @property
    def exponents(self) -> tuple[float, float]:
        """Exponents of the prior in the margin and in the weight; 0 makes all weights equal."""
        margin, weight = self.margin_gamma, self.weight_gamma
        return self.gamma if margin is None else margin, self.gamma if weight is None else weight


class EnergyTerms(NamedTuple):
    """What the pixels of a batch add to an energy loss.

    Attributes:
        known: squared hinges `(N, *)`, 0 where a pixel is not known.
        outliers: squared hinges of the M outlier pixels, `(M,)`.
        weights: of these, `(M,)`, up to a common factor.
        known_mask, outlier_mask: `(N, *)` bool.
        logsumexps: of the logits over the temperature, `(N, *)`.
        cross_entropies: `(N, *)`, 0 where a pixel is not known; None where not asked for.
    """

    known: Tensor
    outliers: Tensor
    weights: Tensor
    known_mask: Tensor
    outlier_mask: Tensor
    logsumexps: Tensor
    cross_entropies: Tensor | None

    def loss(self, reduction: str) -> Tensor:
        """The energy loss; `reduction` as for `balanced_energy_loss`."""
        return self._reduced(reduction)

    def joint_loss(self, energy_weight: float, reduction: str) -> Tensor:
        """Cross entropy plus `energy_weight` times the energy loss."""
        return self._reduced(reduction, self.cross_entropies, energy_weight)

    def _reduced(
        self, reduction: str, added: Tensor | None = None, energy_weight: float = 1.0
    ) -> Tensor:
        check_reduction(reduction)
        if reduction != "mean":
            losses = self._each()
            if added is not None:
                losses = added + energy_weight * losses
            return losses if reduction == "none" else global_sum(losses.sum())[0]
        pairs = [
            (self.known.sum(), self.known_mask.sum()),
            ((self.outliers * self.weights).sum(), self.weights.sum()),
        ]
        if added is not None:
            pairs.append((added.sum(), self.known_mask.sum()))
        values, present = means(*pairs)
        energy_loss = values[:2].sum() / present[:2].sum().clamp(min=1)
        return energy_loss if added is None else values[2] + energy_weight * energy_loss

    def _each(self) -> Tensor:
        """The energy loss of each pixel, `(N, *)`; the weights of all outliers average 1."""
        count = self.weights.new_tensor(self.weights.numel())
        total, count = global_sum(self.weights.sum(), count)
        weights = self.weights * count / total.where(count > 0, torch.ones_like(total))
        return 0.5 * self.known.masked_scatter(self.outlier_mask, self.outliers * weights)


def energy_terms(
    logits: Tensor,
    labels: Tensor,
    options: Mapping[str, Any],
    *,
    prior: Tensor | Sequence[float] | None = None,
    cross_entropy: bool = False,
) -> EnergyTerms:
    """The terms of an energy loss.

    Args:
        logits: `(N, C, *)`.
        labels: `(N, *)`.
        options: keyword arguments of `balanced_energy_loss`; without those of the balance, of
            `energy_loss`.
        prior: as for `balanced_energy_loss`; None: no balance.
        cross_entropy: whether to compute it too, at temperature 1 from the same logsumexps.

    Raises:
        TypeError, ValueError: as `balanced_energy_loss`; with `cross_entropy` also a known label
            that is not a class.
    """
    check_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=options["outlier_index"], ignore_index=options["ignore_index"]
    )
    balance = Balance(prior, **{k: v for k, v in options.items() if k in Balance._fields})
    temperature, log_priors = options["temperature"], _log_priors(balance, logits)
    classes = class_labels(labels, known_mask, logits.shape[1]) if cross_entropy else None
    sums = pixel_sums(
        logits,
        temperature,
        classes=classes if temperature == 1 else None,
        mask=outlier_mask,
        shifts=torch.stack(list(log_priors.values())) if log_priors else None,
    )
    energies = -temperature * sums.logsumexps
    known_hinges = (energies - options["margin_in"]).relu().square().where(known_mask, 0)
    shifted = energies.new_empty(0) if sums.shifted is None else sums.shifted
    log_balances = dict(zip(log_priors, shifted - shifted[:1], strict=True))
    outlier_hinges, weights = _outlier_hinges(
        energies[outlier_mask], log_balances, options["margin_out"], balance
    )
    losses = None
    if cross_entropy:
        plain = sums if temperature == 1 else pixel_sums(logits, classes=classes)
        assert plain.picked is not None
        losses = (plain.logsumexps - plain.picked).where(known_mask, 0)
    return EnergyTerms(
        known_hinges, outlier_hinges, weights, known_mask, outlier_mask, sums.logsumexps, losses
    )


def _log_priors(balance: Balance, logits: Tensor) -> dict[float | None, Tensor]:
    """Required `log P_gamma` by exponent, after zeros under None; empty if none is required."""
    if balance.prior is None:
        return {}
    prior = checked_prior(balance.prior, logits.shape[1])
    margin_gamma, weight_gamma = balance.exponents
    gammas = {margin_gamma} if balance.alpha else set()
    if weight_gamma:
        gammas.add(weight_gamma)
    prior = prior.to(logits.device, torch.promote_types(logits.dtype, torch.float32))
    powers: dict[float | None, Tensor] = {
        gamma: log_prior_power(prior, gamma) for gamma in sorted(gammas)
    }
    return {None: torch.zeros_like(prior), **powers} if powers else {}


def _outlier_hinges(
    energies: Tensor,
    log_balances: dict[float | None, Tensor],
    margin_out: float,
    balance: Balance,
) -> tuple[Tensor, Tensor]:
    """Squared hinges of M outlier pixels and their weights, `(M,)`; `log Z` `(M,)` by exponent."""
    margin_gamma, weight_gamma = balance.exponents
    if balance.detach_balance:
        log_balances = {gamma: value.detach() for gamma, value in log_balances.items()}
    margins: float | Tensor = margin_out
    if balance.alpha:
        margins = margin_out + balance.alpha * log_balances[margin_gamma].exp()
    hinges = (margins - energies).relu().square()
    if not weight_gamma:
        return hinges, torch.ones_like(hinges)
    log_weights = log_balances[weight_gamma]
    # Weights matter up to a factor; relative to the largest their sum cannot underflow to zero.
    lowest = log_weights.new_full((1,), -torch.inf)
    return hinges, (log_weights - global_max(torch.cat([log_weights, lowest]).amax())).exp()
