"""Post-hoc anomaly scores computed from logits alone.

Every function maps logits `(N, C, *)` to scores `(N, *)`, **higher means more anomalous**, works
on dense and on image-level logits, keeps the device and is differentiable. Half-precision logits
are scored in float32, because a logsumexp in float16 loses the differences that ranking needs.
Scores are unbounded unless said otherwise; only their order matters for evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_HALF_TYPES = (torch.float16, torch.bfloat16)


def max_softmax(logits: Tensor) -> Tensor:
    """One minus the maximum softmax probability, in `[0, 1 - 1/C]`.

    Source: Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks", ICLR 2017.

    Args:
        logits: `(N, C, *)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: if the logits have fewer than two dimensions or no channel.
    """
    return 1 - _checked(logits).softmax(dim=1).amax(dim=1)


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
    return -_checked(logits).amax(dim=1)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of the softmax in nats, in `[0, log C]`.

    Args:
        logits: `(N, C, *)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`.
    """
    log_probabilities = _checked(logits).log_softmax(dim=1)
    # A class of probability zero adds nothing, and 0 * -inf would be NaN.
    terms = log_probabilities.exp() * log_probabilities.clamp(min=torch.finfo(logits.dtype).min)
    return -terms.sum(dim=1)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Free energy `E(x) = -T logsumexp(f(x) / T)`.

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, eq. 4.

    Args:
        logits: `f(x)`, `(N, C, *)`.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    logits = _checked(logits)
    if temperature == 1:
        return -logits.logsumexp(dim=1)
    return -temperature * (logits / temperature).logsumexp(dim=1)


def split_corrected(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Split the channels of a residual pattern head into class logits and corrected logits.

    Args:
        logits: `(N, 2K, *)`.

    Returns:
        Two views `(N, K, *)`.

    Raises:
        ValueError: for an odd number of channels.
    """
    if logits.shape[1] % 2:
        raise ValueError(
            "logits must hold K class logits and K corrected logits, as ResidualPatternHead gives "
            f"them, got {logits.shape[1]} channels"
        )
    return logits.chunk(2, dim=1)


def residual_energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Energy of the corrected logits of residual pattern learning (RPL).

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in
    Semantic Segmentation", ICCV 2023.

    Args:
        logits: `(N, 2K, *)`: class logits, then corrected logits; the former do not enter.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `energy` and `split_corrected`.
    """
    return energy(split_corrected(_checked(logits))[1], temperature)


def dense_hybrid(logits: Tensor) -> Tensor:
    """Hybrid score `-logsumexp(f(x)) + log p(outlier | x)`.

    Source: Grcic, Bevandic and Segvic, "DenseHybrid: Hybrid Anomaly Detection for Dense Open-set
    Recognition", ECCV 2022, and the evaluation code released with it.

    Args:
        logits: `(N, K + 2, *)`: class logits `f`, then the logits of inlier and of outlier, whose
            softmax gives `p(outlier | x)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for fewer than three channels.
    """
    logits = _checked(logits)
    if logits.shape[1] < 3:
        raise ValueError(
            "logits must hold at least one class logit and two outlier logits, as "
            f"DenseHybridHead gives them, got {logits.shape[1]} channels"
        )
    log_outlier = logits[:, -2:].log_softmax(dim=1)[:, 1]
    return log_outlier - logits[:, :-2].logsumexp(dim=1)


class MaxSoftmax(nn.Module):
    """Module form of `max_softmax`."""

    def forward(self, logits: Tensor) -> Tensor:
        return max_softmax(logits)


class MaxLogit(nn.Module):
    """Module form of `max_logit`."""

    def forward(self, logits: Tensor) -> Tensor:
        return max_logit(logits)


class Entropy(nn.Module):
    """Module form of `entropy`."""

    def forward(self, logits: Tensor) -> Tensor:
        return entropy(logits)


class Energy(nn.Module):
    """Module form of `energy`.

    Args:
        temperature: `T > 0`.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        return energy(logits, self.temperature)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


class ResidualEnergy(Energy):
    """Module form of `residual_energy`, for a `ResidualPatternHead`.

    Args:
        temperature: `T > 0`.
    """

    channels = "all"

    def forward(self, logits: Tensor) -> Tensor:
        return residual_energy(logits, self.temperature)


class DenseHybrid(nn.Module):
    """Module form of `dense_hybrid`, for a `DenseHybridHead`."""

    channels = "all"

    def forward(self, logits: Tensor) -> Tensor:
        return dense_hybrid(logits)


def _checked(logits: Tensor) -> Tensor:
    """Check the logits of a score and return them in at least float32."""
    if not torch.is_floating_point(logits):
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if logits.ndim < 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits must be (N, C, *) with at least one channel, got {tuple(logits.shape)}"
        )
    return logits.float() if logits.dtype in _HALF_TYPES else logits
