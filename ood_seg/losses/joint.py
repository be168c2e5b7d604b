"""Sum of cross entropy and an energy loss, computed from one logsumexp."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER
from ood_seg.losses._common import check_reduction
from ood_seg.losses._energy_terms import energy_terms
from ood_seg.losses._module import LossModule, PriorLossModule


def cross_entropy_energy_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    energy_weight: float,
    margin_in: float,
    margin_out: float,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    """Mean cross entropy of known pixels plus `energy_weight * energy_loss(...)`.

    The same value and gradient as the two separate losses for the cost of one: at temperature 1
    both use one logsumexp, and one gradient is written.

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer: 0..C-1, `outlier_index` or `ignore_index`.
        energy_weight: factor of the energy loss.
        margin_in: see `energy_loss`, like all arguments below.
        margin_out: as above.
        temperature: as above.
        outlier_index: as above.
        ignore_index: as above.
        reduction: `mean`, as above; `none`, the cross entropy of each known pixel plus
            `energy_weight` times the energy loss of each pixel (see there), 0 for ignored ones;
            or `sum`, the sum of those over the pixels of all ranks.

    Returns:
        Scalar; with `none` `(N, *)`.

    Raises:
        TypeError, ValueError: as `energy_loss`; also a known label that is not a class.
    """
    check_reduction(reduction)
    options = {
        "margin_in": margin_in,
        "margin_out": margin_out,
        "temperature": temperature,
        "outlier_index": outlier_index,
        "ignore_index": ignore_index,
    }
    terms = energy_terms(logits, labels, options, cross_entropy=True)
    return terms.joint_loss(energy_weight, reduction)


def cross_entropy_balanced_energy_loss(
    logits: Tensor,
    labels: Tensor,
    prior: Tensor | Sequence[float],
    *,
    energy_weight: float,
    margin_in: float,
    margin_out: float,
    alpha: float,
    gamma: float,
    margin_gamma: float | None = None,
    weight_gamma: float | None = None,
    temperature: float = 1.0,
    detach_balance: bool = False,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    """Mean cross entropy of known pixels plus `energy_weight * balanced_energy_loss(...)`.

    Computed as `cross_entropy_energy_loss`; `energy_weight` is the factor of the energy loss, and
    the other arguments are those of `balanced_energy_loss`.

    Raises:
        TypeError, ValueError: as `balanced_energy_loss`; also a known label that is not a class.
    """
    check_reduction(reduction)
    options = {
        "margin_in": margin_in,
        "margin_out": margin_out,
        "alpha": alpha,
        "gamma": gamma,
        "margin_gamma": margin_gamma,
        "weight_gamma": weight_gamma,
        "temperature": temperature,
        "detach_balance": detach_balance,
        "outlier_index": outlier_index,
        "ignore_index": ignore_index,
    }
    terms = energy_terms(logits, labels, options, prior=prior, cross_entropy=True)
    return terms.joint_loss(energy_weight, reduction)


class CrossEntropyEnergyLoss(LossModule):
    """Module form of `cross_entropy_energy_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    function = cross_entropy_energy_loss
    loss_name = "loss_cross_entropy_energy"


class CrossEntropyBalancedEnergyLoss(PriorLossModule):
    """Module form of `cross_entropy_balanced_energy_loss`.

    It includes the closed-set term, so build the model with `closed_set_loss=False`.
    """

    function = cross_entropy_balanced_energy_loss
    loss_name = "loss_cross_entropy_balanced_energy"
