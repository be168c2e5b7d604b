"""Free energy, and the scores derived from it."""

from __future__ import annotations

from torch import Tensor, nn

from ood_seg.arrays import arrays_too
from ood_seg.scores._common import TemperatureScore, check_temperature, checked


@arrays_too
def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Free energy `E(x) = -T logsumexp(f(x) / T)`.

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, eq. 4.

    Args:
        logits: `f(x)`, `(N, C, *)`.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`.
    """
    check_temperature(temperature)
    logits = checked(logits)
    if temperature == 1:
        return -logits.logsumexp(dim=1)
    return -temperature * (logits / temperature).logsumexp(dim=1)


@arrays_too
def weighted_energy(logits: Tensor, weights: Tensor, temperature: float = 1.0) -> Tensor:
    """Weighted free energy `-T log sum_c w_c exp(f_c(x) / T)`.

    Source: Du et al., "VOS: Learning What You Don't Know by Virtual Outlier Synthesis", ICLR 2022,
    eq. 5; with equal weights of 1 it is `energy`. Their training keeps the weights positive by a
    ReLU, so negative ones count as 0.

    Args:
        logits: `f(x)`, `(N, C, *)`.
        weights: `w`, `(C,)`, at least one of them positive.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `energy`; also for another number of weights, or none that is
            positive.
    """
    check_temperature(temperature)
    logits = checked(logits)
    if tuple(weights.shape) != (logits.shape[1],) or not bool((weights > 0).any()):
        raise ValueError(
            f"weights must be ({logits.shape[1]},) like the classes of the logits "
            f"{tuple(logits.shape)}, at least one positive, got {tuple(weights.shape)}"
        )
    offsets = weights.to(logits).clamp(min=0).log().view(-1, *[1] * (logits.ndim - 2))
    scaled = logits if temperature == 1 else logits / temperature
    return -temperature * (scaled + offsets).logsumexp(dim=1)


@arrays_too
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
    class_logits, corrected = logits.chunk(2, dim=1)
    return class_logits, corrected


@arrays_too
def residual_energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Energy of the corrected logits of residual pattern learning (RPL).

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in
    Semantic Segmentation", ICCV 2023.

    Args:
        logits: `(N, 2K, *)`: class logits, then corrected logits; only the latter are used.
        temperature: `T > 0`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `energy` and `split_corrected`.
    """
    return energy(split_corrected(checked(logits))[1], temperature)


@arrays_too
def dense_hybrid(logits: Tensor) -> Tensor:
    """Hybrid score `-logsumexp(f(x)) + log p(outlier | x)`.

    Source: Grcic, Bevandic and Segvic, "DenseHybrid: Hybrid Anomaly Detection for Dense Open-set
    Recognition", ECCV 2022, and the evaluation code released with it.

    Args:
        logits: `(N, K + 2, *)`: class logits `f`, then the two logits inlier and outlier, whose
            softmax gives `p(outlier | x)`.

    Returns:
        Scores `(N, *)`.

    Raises:
        TypeError, ValueError: as `max_softmax`, and for fewer than three channels.
    """
    logits = checked(logits)
    if logits.shape[1] < 3:
        raise ValueError(
            "logits must hold at least one class logit and two outlier logits, as "
            f"DenseHybridHead gives them, got {logits.shape[1]} channels"
        )
    log_outlier = logits[:, -2:].log_softmax(dim=1)[:, 1]
    return log_outlier - logits[:, :-2].logsumexp(dim=1)


class Energy(TemperatureScore):
    """Module form of `energy`.

    Args:
        temperature: `T > 0`.
    """

    def forward(self, logits: Tensor) -> Tensor:
        return energy(logits, self.temperature)


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
