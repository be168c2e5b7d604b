"""Scores of a learned head, whose channels follow the K class logits `f`.

See `ood_seg.models.learned_head`; each score names the channels that it expects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ood_seg.arrays import arrays_too
from ood_seg.scores._common import checked


def split_last(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Class logits `(N, K, *)` and the last `count` channels, in at least float32.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: no class is left.
    """
    logits = checked(logits)
    if logits.shape[1] <= count:
        raise ValueError(
            f"logits must hold class logits and {count} channels of a learned head, got "
            f"{logits.shape[1]} channels; set model.learned_head with out_channels={count}"
        )
    return logits[:, :-count], logits[:, -count:]


@arrays_too
def likelihood_ratio(logits: Tensor) -> Tensor:
    """Log-likelihood ratio of outlier to known, `u_1 - u_0 - max_k f_k`.

    Source: Nayal, Shoeb and Güney, "A Likelihood Ratio-Based Approach to Segmenting Unknown
    Objects", 2024 (UEM).

    Args:
        logits: `(N, K + 2, *)`: class logits `f`, then `u_0` and `u_1` of a learned head.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for fewer than three channels.
    """
    class_logits, (known, outlier) = _classes_and_pair(logits)
    return outlier - known - class_logits.amax(dim=1)


def _classes_and_pair(logits: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    class_logits, pair = split_last(logits, 2)
    return class_logits, (pair[:, 0], pair[:, 1])


@arrays_too
def outlier_odds(logits: Tensor) -> Tensor:
    """Log odds of outlier against known of a discriminative head, `u_1 - u_0`.

    Source: Bevandić et al., "Simultaneous Semantic Segmentation and Outlier Detection in Presence
    of Domain Shift", GCPR 2019, whose probability has the same order.

    Args:
        logits: `(N, K + 2, *)`: class logits, then `u_0` and `u_1` of a learned head.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `likelihood_ratio`.
    """
    _, (known, outlier) = _classes_and_pair(logits)
    return outlier - known


@arrays_too
def outlier_max_softmax(logits: Tensor) -> Tensor:
    """Discriminative head and maximum softmax together, `-log(p(known) max_k p_k)`.

    The order of the published `1 - p(known) max_k p_k`, without its rounding to 0 where both are
    certain.

    Source: Bevandić et al., "Dense open-set recognition based on training with noisy negative
    images", Image and Vision Computing 2022 (DODH).

    Args:
        logits: `(N, K + 2, *)`: class logits, then `u_0` and `u_1` of a learned head.

    Returns:
        Scores `(N, *)`, not negative.

    Raises:
        TypeError, ValueError: as `likelihood_ratio`.
    """
    class_logits, (known, outlier) = _classes_and_pair(logits)
    log_known = -F.softplus(outlier - known)
    return class_logits.logsumexp(dim=1) - class_logits.amax(dim=1) - log_known


@arrays_too
def evidential_ratio(logits: Tensor) -> Tensor:
    """Share of the evidence for an outlier, `alpha_1 / (alpha_0 + alpha_1)`, `alpha = e^z + 1`.

    Source: "Uncertainty Likelihood Ratio Estimation" (ULRE), as released.

    Args:
        logits: `(N, K + 2, *)`: class logits, then `z_0` and `z_1` of a learned head.

    Returns:
        Scores `(N, *)` in 0 to 1.

    Raises:
        TypeError, ValueError: as `likelihood_ratio`.
    """
    _, (known, outlier) = _classes_and_pair(logits)
    return (F.softplus(outlier) - F.softplus(known)).sigmoid()


@arrays_too
def extra_class(logits: Tensor) -> Tensor:
    """Log odds of one further class, `v - logsumexp(f)`: a void class, or an abstention.

    The order of its softmax probability. Source for a void class: Chan et al., "SegmentMeIfYouCan",
    NeurIPS 2021; for an abstention: Liu et al., "Deep Gamblers", NeurIPS 2019.

    Args:
        logits: `(N, K + 1, *)`: class logits `f`, then `v` of a learned head.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for fewer than two channels.
    """
    class_logits, further = split_last(logits, 1)
    return further[:, 0] - class_logits.logsumexp(dim=1)


class LearnedScore(nn.Module):
    """Base of the module forms: a function of all channels.

    A subclass sets `function`.
    """

    channels = "all"
    function: ClassVar[Callable[[Tensor], Tensor]]

    def forward(self, logits: Tensor) -> Tensor:
        return type(self).function(logits)


class LikelihoodRatio(LearnedScore):
    """Module form of `likelihood_ratio`."""

    function = likelihood_ratio


class OutlierOdds(LearnedScore):
    """Module form of `outlier_odds`."""

    function = outlier_odds


class OutlierMaxSoftmax(LearnedScore):
    """Module form of `outlier_max_softmax`."""

    function = outlier_max_softmax


class EvidentialRatio(LearnedScore):
    """Module form of `evidential_ratio`."""

    function = evidential_ratio


class ExtraClass(LearnedScore):
    """Module form of `extra_class`."""

    function = extra_class
