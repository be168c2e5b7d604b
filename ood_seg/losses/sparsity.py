"""Sparsity of the energies of outlier pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, global_sum
from ood_seg.losses._module import LossModule, PriorLossModule
from ood_seg.losses.balance import checked_prior, log_balance
from ood_seg.scores import energy


def sparsity(energies: Tensor, *, normalise: bool = False) -> Tensor:
    """Euclidean norm of the vector of all energies.

    Source: the code released with Tian et al., ECCV 2022 (weight 5e-4), whose norm grows with the
    square root of the number of outlier pixels.

    Args:
        energies: of the outlier pixels, any shape.
        normalise: divide by the square root of their number.

    Returns:
        Scalar, at least 0; zero, with a gradient of zero, if there is no pixel.
    """
    squares = energies.square().sum()
    squares, count = global_sum(squares, squares.new_tensor(energies.numel()))
    if normalise:
        squares = squares / count.clamp(min=1)
    # The square root has no finite gradient at zero; zero is used instead.
    positive = squares > 0
    return squares.where(positive, squares.new_tensor(1.0)).sqrt().where(positive, squares)


def energy_sparsity(
    logits: Tensor,
    labels: Tensor,
    *,
    normalise: bool = False,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """`sparsity` of the outlier pixels' energy; logits `(N, C, *)`, labels `(N, *)`."""
    outliers = _outlier_logits(logits, labels, outlier_index, ignore_index)
    return sparsity(energy(outliers, temperature), normalise=normalise)


def balanced_energy_sparsity(
    logits: Tensor,
    labels: Tensor,
    prior: Tensor | Sequence[float],
    *,
    alpha: float,
    gamma: float,
    normalise: bool = False,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    """`sparsity` of `E - alpha Z` of the outlier pixels, see `balanced_energy_loss`.

    `prior`, `alpha` and `gamma` as there; `gamma` is the exponent in the margin.
    """
    outliers = _outlier_logits(logits, labels, outlier_index, ignore_index)
    shift = alpha * log_balance(outliers, checked_prior(prior, logits.shape[1]), gamma).exp()
    return sparsity(energy(outliers, temperature) - shift, normalise=normalise)


def _outlier_logits(logits: Tensor, labels: Tensor, outlier: int, ignore: int) -> Tensor:
    """Logits of the outlier pixels, `(M, C)`."""
    logits = checked_logits(logits, labels)
    _, mask = split_labels(labels, outlier_index=outlier, ignore_index=ignore)
    return logits.movedim(1, -1)[mask]


class SparsityLoss(LossModule):
    """Module form of `energy_sparsity`; the released weight is 5e-4."""

    function = energy_sparsity
    loss_name = "loss_sparsity"


class BalancedSparsityLoss(PriorLossModule):
    """Module form of `balanced_energy_sparsity`; the released weight is 5e-4."""

    function = balanced_energy_sparsity
    loss_name = "loss_balanced_sparsity"
