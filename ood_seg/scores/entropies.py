"""Entropies of the softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ood_seg.scores._common import checked


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of the softmax in nats, in `[0, log C]`; 0 for a single class.

    Args:
        logits: `(N, C, *)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`.
    """
    log_probabilities = checked(logits).log_softmax(dim=1)
    # A class of probability zero contributes nothing, but 0 * -inf would be NaN.
    terms = log_probabilities.exp() * log_probabilities.clamp(min=torch.finfo(logits.dtype).min)
    return -terms.sum(dim=1)


def generalized_entropy(
    logits: Tensor, gamma: float = 0.1, top_classes: int | None = None
) -> Tensor:
    """Generalised entropy `sum_j p_j^gamma (1 - p_j)^gamma` of the softmax (GEN).

    Small probabilities weigh far more than in Shannon's entropy. The minimum is 0, the maximum
    `C (1/C - 1/C^2)^gamma` at equal probabilities; 0 for a single class. Computed in logarithms,
    so that a probability close to 1 does not round to 1: the term of `p = 1 - 1e-9` is 0.13 at
    `gamma = 0.1`, not 0.

    Source: Liu, Lochman and Zach, "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
    Detection", CVPR 2023, eq. 4 and 5; their score is the negative of this.

    Args:
        logits: `(N, C, *)`.
        gamma: exponent in `(0, 1)`; the paper's default is 0.1.
        top_classes: `M`, number of most probable classes to sum over; the paper uses 100 of 1000.
            None, or more than C: all.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`; also a gamma or a number of classes out of range.
    """
    _check_generalized_entropy(gamma, top_classes)
    log_probabilities = checked(logits).log_softmax(dim=1)
    # Where p is near 1, 1 - p is the sum of the others, which a subtraction would round away.
    likely = log_probabilities > math.log(0.5)
    others = log_probabilities.masked_fill(likely, -torch.inf)
    log_complements = torch.where(
        likely, others.logsumexp(dim=1, keepdim=True), torch.log1p(-others.exp())
    )
    terms = (gamma * (log_probabilities + log_complements)).exp()
    if top_classes is not None and top_classes < terms.shape[1]:
        # p (1 - p) orders the classes as p does, because no two probabilities exceed 1 together.
        terms = terms.topk(top_classes, dim=1).values
    return terms.sum(dim=1)


class Entropy(nn.Module):
    """Module form of `entropy`."""

    def forward(self, logits: Tensor) -> Tensor:
        return entropy(logits)


class GeneralizedEntropy(nn.Module):
    """Module form of `generalized_entropy`.

    Args:
        gamma: exponent in `(0, 1)`.
        top_classes: number of most probable classes to sum over; None: all.
    """

    def __init__(self, gamma: float = 0.1, top_classes: int | None = None) -> None:
        super().__init__()
        _check_generalized_entropy(gamma, top_classes)
        self.gamma = gamma
        self.top_classes = top_classes

    def forward(self, logits: Tensor) -> Tensor:
        return generalized_entropy(logits, self.gamma, self.top_classes)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, top_classes={self.top_classes}"


def _check_generalized_entropy(gamma: float, top_classes: int | None) -> None:
    if not 0 < gamma < 1:
        raise ValueError(f"gamma must lie between 0 and 1, got {gamma}")
    if top_classes is not None and top_classes < 1:
        raise ValueError(f"top_classes must be None or at least 1, got {top_classes}")
