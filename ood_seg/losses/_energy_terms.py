"""The formulas that energy, balanced energy and their sums with cross entropy share."""

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
    """What raises margins and weights of outlier pixels; see `balanced_energy_loss`."""

    prior: Tensor | Sequence[float]
    alpha: float
    margin_gamma: float
    weight_gamma: float
    detach: bool


def energy_terms(
    logits: Tensor,
    labels: Tensor,
    *,
    margin_in: float,
    margin_out: float,
    temperature: float,
    outlier_index: int,
    ignore_index: int,
    balance: Balance | None = None,
    cross_entropy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Energy loss, and the mean cross entropy of known pixels (zero where it is not asked for).

    Arguments as for `balanced_energy_loss`; without `balance`, as for `energy_loss`.
    """
    check_logits(logits, labels)
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    log_priors = None if balance is None else _log_priors(balance, logits)
    together = cross_entropy and temperature == 1  # one logsumexp serves both
    classes = class_labels(labels, known_mask, logits.shape[1]) if cross_entropy else None
    sums = pixel_sums(
        logits,
        temperature,
        classes=classes if together else None,
        mask=outlier_mask,
        shifts=None if not log_priors else torch.stack(list(log_priors.values())),
    )
    energies = -temperature * sums.logsumexps
    hinges = (energies - margin_in).relu().square().where(known_mask, 0)
    pairs = [(hinges.sum(), known_mask.sum())]
    outlier_energies = energies[outlier_mask]
    if log_priors:
        log_balances = dict(zip(log_priors, sums.shifted - sums.shifted[:1], strict=True))
        hinges, weights = _balanced_hinges(outlier_energies, log_balances, margin_out, balance)
    else:
        hinges = (margin_out - outlier_energies).relu().square()
        weights = torch.ones_like(hinges)
    pairs.append(((hinges * weights).sum(), weights.sum()))
    if cross_entropy:
        plain = sums if together else pixel_sums(logits, classes=classes)
        losses = (plain.logsumexps - plain.picked).where(known_mask, 0)
        pairs.append((losses.sum(), known_mask.sum()))
    values, present = means(*pairs)
    energy_loss = values[:2].sum() / present[:2].sum().clamp(min=1)
    return energy_loss, values[2] if cross_entropy else torch.zeros_like(energy_loss)


def _log_priors(balance: Balance, logits: Tensor) -> dict[float | None, Tensor]:
    """By exponent, the `log P_gamma` that are needed, after zeros under None; empty if none is."""
    prior = checked_prior(balance.prior, logits.shape[1])
    gammas = {balance.margin_gamma} if balance.alpha else set()
    if balance.weight_gamma:  # at 0 all weights are equal
        gammas.add(balance.weight_gamma)
    prior = prior.to(logits.device, torch.promote_types(logits.dtype, torch.float32))
    powers = {gamma: log_prior_power(prior, gamma) for gamma in sorted(gammas)}
    return {None: torch.zeros_like(prior), **powers} if powers else {}


def _balanced_hinges(
    energies: Tensor,
    log_balances: dict[float | None, Tensor],
    margin_out: float,
    balance: Balance,
) -> tuple[Tensor, Tensor]:
    """Raised hinges of M outlier pixels and their weights; `log_balances` are `log Z` `(M,)`."""
    if balance.detach:
        log_balances = {gamma: value.detach() for gamma, value in log_balances.items()}
    margins = margin_out
    if balance.alpha:
        margins = margin_out + balance.alpha * log_balances[balance.margin_gamma].exp()
    hinges = (margins - energies).relu().square()
    if not balance.weight_gamma:
        return hinges, torch.ones_like(hinges)
    log_weights = log_balances[balance.weight_gamma]
    # Weights matter up to a factor; relative to the largest their sum cannot underflow to zero.
    lowest = log_weights.new_full((1,), -torch.inf)
    return hinges, (log_weights - global_max(torch.cat([log_weights, lowest]).amax())).exp()
