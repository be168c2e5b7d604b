"""Balanced energy regularisation: outliers weighed by how common their predicted class is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, mean_of_present
from ood_seg.scores import energy


def checked_prior(prior: Tensor | Sequence[float], num_classes: int) -> Tensor:
    """Check an outlier prior and normalise it to sum one.

    Args:
        prior: `P(j)`, one non-negative number a class; counts are fine.
        num_classes: expected length.

    Returns:
        `(num_classes,)`; float64 unless a floating-point tensor was given.

    Raises:
        ValueError: for a wrong length, negative or non-finite entries, or all zeros.
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
        raise ValueError("prior is all zeros: no outlier pixel was counted")
    return prior / prior.sum()


def log_balance(logits: Tensor, prior: Tensor, gamma: float) -> Tensor:
    r"""Logarithm of `Z = sum_j p(j|x) P_gamma(j)` with `P_gamma = P^gamma / sum P^gamma`.

    Computed as `logsumexp(f + log P_gamma) - logsumexp(f)`, which neither underflows for
    confident pixels nor breaks on classes whose prior is zero.

    Source: Choi et al., "Balanced Energy Regularization Loss for Out-of-distribution Detection",
    CVPR 2023, eq. 7-8.

    Args:
        logits: `f`, `(M, C)`.
        prior: `P`, `(C,)`, sums to one.
        gamma: `gamma >= 0`; 0 makes the prior uniform (`Z = 1/C` everywhere), 1 keeps it.

    Returns:
        `log Z`, `(M,)`.

    Raises:
        ValueError: if gamma is negative.
    """
    if gamma < 0:
        raise ValueError(f"gamma must not be negative, got {gamma}")
    if gamma == 0:  # 0^0 = 1 too: exactly uniform
        return logits.new_full(logits.shape[:1], logits.shape[1]).log().neg()
    log_prior = gamma * prior.to(logits).log()
    log_prior = log_prior - log_prior.logsumexp(dim=0)
    return (logits + log_prior).logsumexp(dim=1) - logits.logsumexp(dim=1)


def balanced_energy_loss(
    logits: Tensor,
    labels: Tensor,
    prior: Tensor | Sequence[float],
    *,
    margin_in: float,
    margin_out: float,
    alpha: float,
    gamma: float,
    margin_gamma: float | None = None,
    weight_gamma: float | None = None,
    temperature: float = 1.0,
    detach_balance: bool = False,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Energy loss whose outlier margin and weight grow with the prior of the predicted class.

    .. math:: L = \tfrac12 \Big( \mathrm{mean}_{known} [E - m_{in}]_+^2 + \frac{
              \sum_{outlier} [m_{out} + \alpha Z - E]_+^2 \, Z'}{\sum_{outlier} Z'} \Big)

    with `Z` of `log_balance` at `margin_gamma` and `Z'` the same at `weight_gamma`. `p(j|x)` is
    the plain softmax; the temperature acts on the energy alone. With `gamma = alpha = 0` this is
    `energy_loss` exactly. Missing terms are treated as there.

    Source: Choi et al., CVPR 2023, eq. 9-11, and the code released with it (which divides by the
    sum of the weights and lets the gradient pass through `Z`).

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer: known classes, `outlier_index` or `ignore_index`.
        prior: `P(j)`, C non-negative numbers: how often the pre-trained model predicts class j on
            outlier pixels. Counts are fine.
        margin_in: `m_in`, the energy that known pixels should stay below.
        margin_out: `m_out`, the energy that outlier pixels should stay above, before balancing.
        alpha: `alpha`, strength of the margin's shift.
        gamma: exponent of the prior, for margin and weight where those are not given.
        margin_gamma: exponent in the margin alone.
        weight_gamma: exponent in the weight alone.
        temperature: `T` of the energy.
        detach_balance: stop the gradient through `Z` and `Z'`. The released code does not.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.

    Returns:
        Scalar.

    Raises:
        TypeError, ValueError: for types, shapes or priors that do not fit.
    """
    logits = checked_logits(logits, labels)
    prior = checked_prior(prior, logits.shape[1])
    known_mask, outlier_mask = split_labels(
        labels, outlier_index=outlier_index, ignore_index=ignore_index
    )
    scores = energy(logits, temperature)
    known, outliers = scores[known_mask], scores[outlier_mask]
    terms = []
    if known.numel():
        terms.append((known - margin_in).relu().square().mean())
    if outliers.numel():
        outlier_logits = logits.movedim(1, -1)[outlier_mask]  # Z is needed on these pixels alone
        if detach_balance:
            outlier_logits = outlier_logits.detach()
        terms.append(
            _balanced_hinge(
                outliers,
                outlier_logits,
                prior,
                margin_out=margin_out,
                alpha=alpha,
                margin_gamma=gamma if margin_gamma is None else margin_gamma,
                weight_gamma=gamma if weight_gamma is None else weight_gamma,
            )
        )
    return mean_of_present(terms, logits)


def _balanced_hinge(
    energies: Tensor,
    logits: Tensor,
    prior: Tensor,
    *,
    margin_out: float,
    alpha: float,
    margin_gamma: float,
    weight_gamma: float,
) -> Tensor:
    """Weighted mean of the raised outlier hinge over M pixels; see `balanced_energy_loss`."""
    log_z_margin = log_balance(logits, prior, margin_gamma) if alpha else None
    if alpha:
        hinges = (margin_out + alpha * log_z_margin.exp() - energies).relu().square()
    else:
        hinges = (margin_out - energies).relu().square()
    if weight_gamma == 0:  # equal weights; a softmax over pixels would only add rounding
        return hinges.mean()
    if alpha and weight_gamma == margin_gamma:
        log_z_weight = log_z_margin
    else:
        log_z_weight = log_balance(logits, prior, weight_gamma)
    # Z' / sum Z' as a softmax over the pixels: no division by a sum that may underflow to zero.
    return (hinges * log_z_weight.softmax(dim=0)).sum()


class BalancedEnergyLoss(nn.Module):
    """Module form of `balanced_energy_loss`, weighted, for `EnergyHead(losses=[...])`.

    Args:
        prior: see `balanced_energy_loss`; None if `OutlierPriorHook` or `set_prior` gives it.
        margin_in, margin_out, alpha, gamma, margin_gamma, weight_gamma, temperature,
            detach_balance, outlier_index, ignore_index: see `balanced_energy_loss`.
        loss_weight: factor of the loss.
        loss_name: key in the training log; must start with `loss`.
    """

    def __init__(
        self,
        prior: Sequence[float] | None = None,
        *,
        margin_in: float,
        margin_out: float,
        alpha: float,
        gamma: float,
        margin_gamma: float | None = None,
        weight_gamma: float | None = None,
        temperature: float = 1.0,
        detach_balance: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = "loss_balanced_energy",
        outlier_index: int = OUTLIER,
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.options = {
            "margin_in": margin_in,
            "margin_out": margin_out,
            "alpha": alpha,
            "gamma": gamma,
            "margin_gamma": margin_gamma,
            "weight_gamma": weight_gamma,
            "temperature": temperature,
            "detach_balance": detach_balance,
            "outlier_index": outlier_index,
            "ignore_index": ignore_index,
        }
        # Not in the state dict: a model's checkpoint keys stay those of the plain segmentor.
        self.register_buffer("prior", None, persistent=False)
        if prior is not None:
            self.set_prior(prior)

    def set_prior(self, prior: Tensor | Sequence[float]) -> None:
        """Take a prior; its length is checked against the logits when the loss is computed."""
        prior = torch.as_tensor(prior)
        device = None if self.prior is None else self.prior.device
        self.prior = checked_prior(prior, prior.numel()).float().to(device)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.prior is None:
            raise ValueError(
                "BalancedEnergyLoss has no prior: give prior=[...] in the config, or add "
                "dict(type='OutlierPriorHook') to custom_hooks to measure it before training"
            )
        prior = self.prior.to(logits.device)
        return self.loss_weight * balanced_energy_loss(logits, labels, prior, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())
