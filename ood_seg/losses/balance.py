"""The outlier prior of the balanced losses, and the balance `Z` of a pixel under it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def checked_prior(prior: Tensor | Sequence[float], num_classes: int) -> Tensor:
    """An outlier prior normalised to sum 1.

    Args:
        prior: `P(j)`, one non-negative number per class, such as pixel counts.
        num_classes: expected length.

    Returns:
        `(num_classes,)`; float64 unless a floating-point tensor was given.

    Raises:
        ValueError: the length is wrong, an entry is negative or not finite, or all are zero.
    """
    if not isinstance(prior, Tensor) or not torch.is_floating_point(prior):
        prior = torch.as_tensor(prior, dtype=torch.float64)
    if prior.ndim != 1 or prior.numel() != num_classes:
        raise ValueError(
            f"prior must hold one number for each of the {num_classes} classes, "
            f"got shape {tuple(prior.shape)}; measure it with the model that is fine-tuned"
        )
    if not torch.isfinite(prior).all() or (prior < 0).any():
        raise ValueError(f"prior must be finite and non-negative, got {prior.tolist()}")
    if prior.sum() == 0:
        raise ValueError("prior must not be all zeros, which means no outlier pixel was counted")
    return prior / prior.sum()


def log_balance(logits: Tensor, prior: Tensor, gamma: float) -> Tensor:
    r"""Logarithm of `Z = sum_j p(j|x) P_gamma(j)` with `P_gamma = P^gamma / sum P^gamma`.

    Computed as `logsumexp(f + log P_gamma) - logsumexp(f)`, which neither underflows for
    confident pixels nor breaks on classes whose prior is zero.

    Source: Choi et al., "Balanced Energy Regularization Loss for Out-of-distribution Detection",
    CVPR 2023, eq. 7-8.

    Args:
        logits: `f`, `(M, C)`.
        prior: `P`, `(C,)`, with sum 1.
        gamma: `gamma >= 0`; 0 makes the prior uniform (`Z = 1/C` everywhere), 1 keeps it.

    Returns:
        `log Z`, `(M,)`.

    Raises:
        ValueError: gamma is negative.
    """
    if gamma == 0:  # exactly uniform
        return logits.new_full(logits.shape[:1], logits.shape[1]).log().neg()
    log_prior = log_prior_power(prior.to(logits), gamma)
    return (logits + log_prior).logsumexp(dim=1) - logits.logsumexp(dim=1)


def log_prior_power(prior: Tensor, gamma: float) -> Tensor:
    """Logarithm of `P_gamma = P^gamma / sum P^gamma`, `(C,)`; see `log_balance`."""
    if gamma < 0:
        raise ValueError(f"gamma must be at least 0, got {gamma}")
    if gamma == 0:  # 0^0 = 1: exactly uniform
        return torch.full_like(prior, 1 / len(prior)).log()
    log_power = gamma * prior.log()
    return log_power - log_power.logsumexp(dim=0)
