"""Balanced energy regularisation: outliers weighted by the prior of their predicted class."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER
from ood_seg.losses._common import check_reduction
from ood_seg.losses._energy_terms import EnergyTerms, energy_terms
from ood_seg.losses._module import PriorLossModule


def balanced_energy_loss(
    logits: Tensor,
    labels: Tensor,
    prior: Tensor | Sequence[float],
    *,
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
    r"""Energy loss whose outlier margin and weight grow with the prior of the predicted class.

    .. math:: L = \tfrac12 \Big( \mathrm{mean}_{known} [E - m_{in}]_+^2 + \frac{
              \sum_{outlier} [m_{out} + \alpha Z - E]_+^2 \, Z'}{\sum_{outlier} Z'} \Big)

    with `Z` of `log_balance` at `margin_gamma` and `Z'` the same at `weight_gamma`. `p(j|x)` is
    the plain softmax; the temperature only affects the energy. With `gamma = alpha = 0` this is
    exactly `energy_loss`. Terms without pixels are handled as there.

    Source: Choi et al., CVPR 2023, eq. 9-11, and the code released with it (which divides by the
    sum of the weights and lets the gradient pass through `Z`).

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer: known classes, `outlier_index` or `ignore_index`.
        prior: `P(j)`, C non-negative numbers: how often the pre-trained model predicts class j on
            outlier pixels. Need not be normalised.
        margin_in: `m_in`, the energy that known pixels should stay below.
        margin_out: `m_out`, the energy that outlier pixels should stay above, before balancing.
        alpha: `alpha`, strength of the margin's shift.
        gamma: exponent of the prior; default of the next two.
        margin_gamma: exponent in the margin.
        weight_gamma: exponent in the weight.
        temperature: `T` of the energy.
        detach_balance: stop the gradient through `Z` and `Z'`. The released code does not.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`, as above; `none`, half the squared hinge of each pixel, 0 for ignored
            ones, where the weights `Z'` of all outliers are scaled to an average of 1; or `sum`,
            the sum of those over the pixels of all ranks.

    Returns:
        Scalar; with `none` `(N, *)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: shapes or the length of the prior do not match, the prior is not finite,
            non-negative and positive in sum, an exponent or temperature is out of range, or the
            reduction is unknown.
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
    return energy_terms(logits, labels, options, prior=prior).loss(reduction)


class BalancedEnergyLoss(PriorLossModule):
    """Module form of `balanced_energy_loss`."""

    function = balanced_energy_loss
    loss_name = "loss_balanced_energy"

    def terms(self, logits: Tensor, labels: Tensor, *, cross_entropy: bool = False) -> EnergyTerms:
        """What `forward` reduces, and the cross entropies beside it; see `energy_terms`."""
        prior = self.required_prior(logits)
        return energy_terms(logits, labels, self.options, prior=prior, cross_entropy=cross_entropy)
