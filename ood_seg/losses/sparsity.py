"""Sparsity of the energies of outlier pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, global_sum
from ood_seg.losses.balance import PriorModule, checked_prior, log_balance
from ood_seg.scores import energy


def sparsity(energies: Tensor, *, normalise: bool = False) -> Tensor:
    """Euclidean norm of all energies together.

    Source: the code released with Tian et al., ECCV 2022 (weight 5e-4), whose norm grows with the
    root of the number of outlier pixels.

    Args:
        energies: of the outlier pixels, any shape.
        normalise: divide by the root of their number.

    Returns:
        Scalar, at least 0; zero, with a gradient of zero, if there is no pixel.
    """
    squares = energies.square().sum()
    squares, count = global_sum(squares, squares.new_tensor(energies.numel()))
    if normalise:
        squares = squares / count.clamp(min=1)
    # The root has no gradient at zero; zero is taken for it.
    positive = squares > 0
    return squares.where(positive, squares.new_tensor(1.0)).sqrt().where(positive, squares)


class SparsityLoss(nn.Module):
    """`sparsity` of the outlier pixels' energy, weighted, for `EnergyHead(losses=[...])`.

    Args:
        normalise: see `sparsity`.
        temperature: `T` of the energy.
        loss_weight: factor of the loss.
        loss_name: key in the training log; must start with `loss`.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
    """

    def __init__(
        self,
        *,
        loss_weight: float,
        normalise: bool = False,
        temperature: float = 1.0,
        loss_name: str = "loss_sparsity",
        outlier_index: int = OUTLIER,
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.normalise = normalise
        self.temperature = temperature
        self.loss_name = loss_name
        self.outlier_index = outlier_index
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        outliers = _outlier_logits(logits, labels, self.outlier_index, self.ignore_index)
        energies = energy(outliers, self.temperature)
        return self.loss_weight * sparsity(energies, normalise=self.normalise)


class BalancedSparsityLoss(PriorModule):
    """`sparsity` of `E - alpha Z`, the energies that the balanced energy loss compares.

    Args:
        prior: see `PriorModule`.
        alpha: as for `balanced_energy_loss`.
        gamma: as for `balanced_energy_loss`: exponent of the prior in the margin.
        normalise, temperature, loss_weight, loss_name, outlier_index, ignore_index: see
            `SparsityLoss`.
    """

    def __init__(
        self,
        prior: Sequence[float] | None = None,
        *,
        alpha: float,
        gamma: float,
        loss_weight: float,
        normalise: bool = False,
        temperature: float = 1.0,
        loss_name: str = "loss_balanced_sparsity",
        outlier_index: int = OUTLIER,
        ignore_index: int = IGNORE,
    ) -> None:
        super().__init__(prior)
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.normalise = normalise
        self.temperature = temperature
        self.loss_name = loss_name
        self.outlier_index = outlier_index
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        outliers = _outlier_logits(logits, labels, self.outlier_index, self.ignore_index)
        prior = checked_prior(self.prior_on(logits.device), logits.shape[1])
        shift = self.alpha * log_balance(outliers, prior, self.gamma).exp()
        energies = energy(outliers, self.temperature) - shift
        return self.loss_weight * sparsity(energies, normalise=self.normalise)


def _outlier_logits(logits: Tensor, labels: Tensor, outlier: int, ignore: int) -> Tensor:
    """Logits of the outlier pixels, `(M, C)`."""
    logits = checked_logits(logits, labels)
    _, mask = split_labels(labels, outlier_index=outlier, ignore_index=ignore)
    return logits.movedim(1, -1)[mask]
