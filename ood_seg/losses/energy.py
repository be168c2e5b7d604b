"""Energy regularisation with two squared hinges (EnergyOE)."""

from __future__ import annotations

from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER
from ood_seg.losses._common import check_reduction
from ood_seg.losses._energy_terms import EnergyTerms, energy_terms
from ood_seg.losses._module import LossModule


def energy_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    margin_in: float,
    margin_out: float,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
    reduction: str = "mean",
) -> Tensor:
    r"""Squared hinges that push known pixels below one energy and outliers above another.

    .. math:: L = \tfrac12 \big( \mathrm{mean}_{known} [E - m_{in}]_+^2
              + \mathrm{mean}_{outlier} [m_{out} - E]_+^2 \big)

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, eq. 7-8, with
    the factor one half of the code released with Choi et al., CVPR 2023. A term without pixels
    is left out, and the other is not halved; a batch with only ignored pixels gives zero. The
    gradient is analytic and can be taken once (no second derivatives).

    Args:
        logits: `(N, C, *)`; half precision is computed in float32.
        labels: `(N, *)`, integer: known classes, `outlier_index` or `ignore_index`.
        margin_in: `m_in`, the energy that known pixels should stay below.
        margin_out: `m_out`, the energy that outlier pixels should stay above.
        temperature: `T` of the energy.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.
        reduction: `mean`, that of the known plus that of the outlier pixels as above; `none`, half
            the squared hinge of each pixel, 0 for ignored ones; or `sum`, the sum of those over
            the pixels of all ranks.

    Returns:
        Scalar; with `none` `(N, *)`.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, the temperature is not positive, or the reduction is
            unknown.

    Example:
        >>> logits = torch.randn(2, 19, 8, 8, requires_grad=True)
        >>> labels = torch.randint(0, 19, (2, 8, 8))
        >>> labels[:, 2:4, 2:4] = 254
        >>> energy_loss(logits, labels, margin_in=-12.0, margin_out=-6.0).backward()
    """
    check_reduction(reduction)
    options = {
        "margin_in": margin_in,
        "margin_out": margin_out,
        "temperature": temperature,
        "outlier_index": outlier_index,
        "ignore_index": ignore_index,
    }
    return energy_terms(logits, labels, options).loss(reduction)


class EnergyLoss(LossModule):
    """Module form of `energy_loss`."""

    function = energy_loss
    loss_name = "loss_energy"

    def terms(self, logits: Tensor, labels: Tensor, *, cross_entropy: bool = False) -> EnergyTerms:
        """What `forward` reduces, and the cross entropies beside it; see `energy_terms`."""
        return energy_terms(logits, labels, self.options, cross_entropy=cross_entropy)
