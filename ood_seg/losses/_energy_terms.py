"""Formulas shared by the energy and balanced energy losses and their sums with cross entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ood_seg.labels import split_labels
from ood_seg.losses._common import check_logits, class_labels, global_max, means
from ood_seg.losses._logsumexp import pixel_sums
from ood_seg.losses.balance import checked_prior, log_prior_power


class Balance(NamedTuple):
    """Options that raise margins and weights of outlier pixels; see `balanced_energy_loss`."""

    prior: Tensor | Sequence[float] | None = None
    alpha: float = 0.0
    gamma: float = 0.0
    margin_gamma: float | None = None
    weight_gamma: float | None = None
    detach: bool = False

    @property
    def exponents(self) -> tuple[float, float]:
        """Exponents of the prior in the margin and in the weight; 0 makes all weights equal."""
        margin, weight = self.margin_gamma, self.weight_gamma
        return self.gamma if margin is None else margin, self.gamma if weight is None else weight


_NO_BALANCE = Balance()


def energy_terms(
    logits: Tensor,
    labels: Tensor,
    *,
    margin_in: float,
    margin_out: float,
    temperature: float,
    outlier_index: int,
    ignore_index: int,
    balance: Balance = _NO_BALANCE,
    cross_entropy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Energy loss, and the mean cross entropy of known pixels (zero unless `cross_entropy`).

    Arguments as for `balanced_energy_loss`; without `balance`, as for `energy_loss`.
    """
    check_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    log_priors = _log_priors(balance, logits)
    shared = cross_entropy and temperature == 1  # one logsumexp serves both losses
    classes = class_labels(labels, known_mask, logits.shape[1]) if cross_entropy else None
    sums = pixel_sums(
        logits,
        temperature,
        classes=classes if shared else None,
        mask=outlier_mask,
        shifts=torch.stack(list(log_priors.values())) if log_priors else None,
    )
    energies = -temperature * sums.logsumexps
    known_hinges = (energies - margin_in).relu().square().where(known_mask, 0)
    shifted = energies.new_empty(0) if sums.shifted is None else sums.shifted
    log_balances = dict(zip(log_priors, shifted - shifted[:1], strict=True))
    outlier_hinges, weights = _outlier_hinges(
        energies[outlier_mask], log_balances, margin_out, balance
    )
    pairs = [
        (known_hinges.sum(), known_mask.sum()),
        ((outlier_hinges * weights).sum(), weights.sum()),
    ]
    if cross_entropy:
        plain = sums if shared else pixel_sums(logits, classes=classes)
        assert plain.picked is not None
        losses = (plain.logsumexps - plain.picked).where(known_mask, 0)
        pairs.append((losses.sum(), known_mask.sum()))
    values, present = means(*pairs)
    energy_loss = values[:2].sum() / present[:2].sum().clamp(min=1)
    return energy_loss, values[2] if cross_entropy else torch.zeros_like(energy_loss)


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
    if balance.detach:
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
