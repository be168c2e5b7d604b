"""Scores of a learned head, whose channels follow the K class logits `f`.

See `ood_seg.models.learned_head`; each score names the channels that it expects.
"""

from __future__ import annotations

from torch import Tensor, nn

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


class LikelihoodRatio(nn.Module):
    """Module form of `likelihood_ratio`."""

    channels = "all"

    def forward(self, logits: Tensor) -> Tensor:
        return likelihood_ratio(logits)
