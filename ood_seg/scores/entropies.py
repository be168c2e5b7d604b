"""Entropies of the softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ood_seg.arrays import arrays_too
from ood_seg.scores._common import checked

_BLOCK = 2**18  # logits at a time


@arrays_too
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


@arrays_too
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
    logits = checked(logits)
    # In blocks that fit into the cache this takes a third of the time; a graph has a fixed form.
    dim = 2 if logits.ndim > 2 else 0
    size = _BLOCK * logits.shape[dim] // max(logits.numel(), 1)
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or size >= logits.shape[dim]:
        return _generalized_entropy(logits, gamma, top_classes)
    parts = logits.split(max(size, 1), dim=dim)
    return torch.cat([_generalized_entropy(p, gamma, top_classes) for p in parts], max(dim - 1, 0))


def _generalized_entropy(logits: Tensor, gamma: float, top_classes: int | None) -> Tensor:
    differences = logits - logits.amax(dim=1, keepdim=True)
    weights = differences.exp()
    # Near p = 1, 1 - p is the sum of the others, which a subtraction would round away: they are
    # summed without the largest, of which there may be several.
    is_largest = differences == 0
    others = weights.masked_fill(is_largest, 0).sum(dim=1, keepdim=True)
    others = others + (is_largest.sum(dim=1, keepdim=True) - 1)
    complements = torch.where(is_largest, others, 1 + others - weights)
    # log p + log(1 - p), but for twice the logarithm of the sum.
    terms = (gamma * (differences + complements.log())).exp()
    terms = terms * (1 + others).pow(-2 * gamma)
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
