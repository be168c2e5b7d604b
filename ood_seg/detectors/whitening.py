"""The linear map that turns a Mahalanobis distance into a Euclidean one."""

from __future__ import annotations

import torch
from torch import Tensor

# A direction with less than this share of the variance cannot be resolved by float32 activations.
_LEAST_VARIANCE = 1e-10
_NAMED = 8


def whitening_matrix(covariance: Tensor, *, shrinkage: float = 0.0, name: str = "") -> Tensor:
    """`W` with `W^T W` the inverse of `(1 - s) S + s tr(S) / D I`.

    The shrunk covariance is scikit-learn's `shrunk_covariance`. Channels are brought to unit
    variance before the Cholesky factor is taken, so that their scales do not matter.

    Args:
        covariance: `S`, `(D, D)` float64.
        shrinkage: `s`, 0 to 1.
        name: of the layer, for the error.

    Returns:
        `(D, D)` float64, lower triangular.

    Raises:
        ValueError: the covariance is singular or not finite.
    """
    if not covariance.isfinite().all():
        raise ValueError(f"layer {name!r} has activations that are infinite or NaN")
    size = len(covariance)
    even = covariance.diagonal().mean() * torch.eye(size).to(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * even
    variances = covariance.diagonal()
    dead = (variances <= 0).nonzero().flatten().tolist()
    if dead:
        listed = ", ".join(map(str, dead[:_NAMED])) + (", ..." if len(dead) > _NAMED else "")
        raise ValueError(
            f"the covariance of layer {name!r} is singular: {len(dead)} of its {size} channels "
            f"({listed}) never vary within a class; {_remedy(shrinkage)}"
        )
    scale = variances.rsqrt()
    correlation = scale[:, None] * covariance * scale
    resolved = int((torch.linalg.eigvalsh(correlation) > _LEAST_VARIANCE).sum())
    if resolved < size:
        raise ValueError(
            f"the covariance of layer {name!r} is singular: its {size} channels vary in only "
            f"{resolved} independent directions; {_remedy(shrinkage)}"
        )
    factor = torch.linalg.cholesky(correlation)
    return torch.linalg.solve_triangular(factor, scale.diag(), upper=False)


def check_samples(count: int, num_groups: int, size: int, *, name: str) -> None:
    """Raise unless there are enough vectors for a covariance about the means of the groups.

    Raises:
        ValueError: there are fewer vectors than channels and groups together.
    """
    if count < size + num_groups:
        raise ValueError(
            f"the covariance of layer {name!r} takes at least {size + num_groups} known pixels "
            f"({size} channels and {num_groups} classes), found {count}; fit on more images, or "
            f"{_remedy(0)}"
        )


def _remedy(shrinkage: float) -> str:
    if shrinkage:
        return f"a shrinkage above {shrinkage:g}, or another layer, is needed"
    return "fit with shrinkage=0.01 or another share, or choose another layer"
