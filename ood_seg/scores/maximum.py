"""Scores from the largest logit or probability."""

from __future__ import annotations

from torch import Tensor, nn

from ood_seg.arrays import arrays_too
from ood_seg.scores._common import TemperatureScore, check_temperature, checked


@arrays_too
def max_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """One minus the maximum softmax probability, in `[0, 1 - 1/C]`; 0 for a single class.

    Source: Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks", ICLR 2017. With a temperature: Liang, Li and Srikant, "Enhancing
    The Reliability of Out-of-distribution Image Detection in Neural Networks", ICLR 2018, eq. 1.
    A large one (they use 1000) separates the scores of confident predictions, which at T = 1 all
    round to 0.

    Args:
        logits: `(N, C, *)`.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the logits have fewer than two dimensions or no channel, or the temperature is
            not positive.
    """
    check_temperature(temperature)
    logits = checked(logits)
    if temperature != 1:
        logits = logits / temperature
    return 1 - logits.softmax(dim=1).amax(dim=1)


@arrays_too
def max_logit(logits: Tensor) -> Tensor:
    """Negative maximum logit.

    Source: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings",
    ICML 2022.

    Args:
        logits: `(N, C, *)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`.
    """
    return -checked(logits).amax(dim=1)


class MaxSoftmax(TemperatureScore):
    """Module form of `max_softmax`.

    Args:
        temperature: `T > 0`.
    """

    def forward(self, logits: Tensor) -> Tensor:
        return max_softmax(logits, self.temperature)


class MaxLogit(nn.Module):
    """Module form of `max_logit`."""

    def forward(self, logits: Tensor) -> Tensor:
        return max_logit(logits)
