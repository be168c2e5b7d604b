"""Whitening: the linear map under which a Mahalanobis distance is Euclidean."""

from __future__ import annotations

import torch
from torch import Tensor

# Directions with less than this share of the variance are not resolved by float32 activations.
_LEAST_VARIANCE = 1e-10
_NAMED = 8


def whitening_matrix(covariance: Tensor, *, shrinkage: float = 0.0, name: str = "") -> Tensor:
    """`W` with `W^T W` the inverse of `(1 - s) S + s tr(S) / D I`.

    The shrunk covariance equals scikit-learn's `shrunk_covariance`. Channels are scaled to unit
    variance before the Cholesky factorisation, so that their scales do not matter.

    Args:
        covariance: `S`, `(D, D)` float64.
        shrinkage: `s`, 0 to 1.
        name: of the layer, for the message.

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
            f"({listed}) do not vary within a class; {_remedy(shrinkage)}"
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
    """Raise `ValueError` if there are fewer vectors than channels and groups together.

    With fewer, the covariance about the means of the groups is singular.
    """
    if count < size + num_groups:
        raise ValueError(
            f"the covariance of layer {name!r} needs at least {size + num_groups} known pixels "
            f"({size} channels and {num_groups} classes), found {count}; fit on more images, or "
            f"{_remedy(0)}"
        )


def _remedy(shrinkage: float) -> str:
    if shrinkage:
        return f"fit with a shrinkage above {shrinkage:g}, or choose another layer"
    return "fit with a shrinkage such as shrinkage=0.01, or choose another layer"
