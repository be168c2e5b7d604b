"""Uncertainties of a Dirichlet distribution over the classes, predicted by a learned head.

The head gives one channel for each class, the logarithm `g` of its concentration: `alpha = e^g`,
in sum `alpha_0`. All is computed in float64, in which concentrations of any size leave digits.
"""

from __future__ import annotations

from torch import Tensor

from ood_seg.arrays import arrays_too
from ood_seg.scores._common import checked
from ood_seg.scores._gamma import digamma, log_gamma
from ood_seg.scores.learned import LearnedScore

_LIMIT = 20.0  # of |g|, so that values and gradients are finite; beyond, they do not change


def concentrations(logits: Tensor) -> Tensor:
    """Concentrations `(N, K, *)`, float64, from the second half of `(N, 2 K, *)` channels.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: for an odd number of channels, or fewer than two classes.
    """
    logits = checked(logits)
    classes, odd = divmod(logits.shape[1], 2)
    if odd or classes < 2:
        raise ValueError(
            "logits must hold K class logits and K channels of a learned head, got "
            f"{logits.shape[1]} channels; set model.learned_head with out_channels=K"
        )
    return logits[:, classes:].double().clamp(-_LIMIT, _LIMIT).exp()


def dirichlet_entropy(alpha: Tensor) -> Tensor:
    """Differential entropy in nats of Dirichlet distributions, `(N, K, *) -> (N, *)`."""
    total = alpha.sum(dim=1)
    log_beta = log_gamma(alpha).sum(dim=1) - log_gamma(total)
    expected = digamma(alpha) - digamma(total).unsqueeze(1)  # of the logarithms
    return log_beta - ((alpha - 1) * expected).sum(dim=1)


@arrays_too
def differential_entropy(logits: Tensor) -> Tensor:
    """Differential entropy of the Dirichlet distribution, in nats.

    Source: Malinin and Gales, "Predictive Uncertainty Estimation via Prior Networks", NeurIPS
    2018; for segmentation ("Dirichlet DeepLab") Blum et al., IJCV 2021.

    Args:
        logits: `(N, 2 K, *)`: class logits, then the logarithms of the K concentrations.

    Returns:
        Scores `(N, *)`, float32 or that of the logits; at most `-log (K - 1)!`, the flat one's.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for an odd number of channels.
    """
    return dirichlet_entropy(concentrations(logits)).to(checked(logits).dtype)


@arrays_too
def mutual_information(logits: Tensor) -> Tensor:
    """Mutual information of the class and the Dirichlet-distributed probabilities, in nats.

    Source and arguments: see `differential_entropy`.
    """
    alpha = concentrations(logits)
    total = alpha.sum(dim=1, keepdim=True)
    share = alpha / total
    expected = digamma(alpha + 1) - digamma(total + 1)
    return (share * (expected - share.log())).sum(dim=1).to(checked(logits).dtype)


@arrays_too
def vacuity(logits: Tensor) -> Tensor:
    """Lack of evidence, `K / alpha_0`.

    Source: Sensoy, Kaplan and Kandemir, "Evidential Deep Learning to Quantify Classification
    Uncertainty", NeurIPS 2018. Arguments: see `differential_entropy`.
    """
    alpha = concentrations(logits)
    return (alpha.shape[1] / alpha.sum(dim=1)).to(checked(logits).dtype)


class DifferentialEntropy(LearnedScore):
    """Module form of `differential_entropy`."""

    function = differential_entropy


class MutualInformation(LearnedScore):
    """Module form of `mutual_information`."""

    function = mutual_information


class Vacuity(LearnedScore):
    """Module form of `vacuity`."""

    function = vacuity
