"""Mahalanobis distances of whole activation maps, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ood_seg.precision import without_autocast

_CHUNK = 1 << 16


@without_autocast
def nearest_distance(features: Tensor, means: Tensor, whitening: Tensor) -> Tensor:
    """`min_k |W (f - mu_k)|^2 / 2`.

    Pixels and means are whitened once and compared by one matrix product; no array of pixels times
    classes times channels is allocated.

    Args:
        features: `f`, `(N, D, *)` in at least float32.
        means: `mu`, `(K, D)`.
        whitening: `W`, `(D, D)`.

    Returns:
        `(N, *)`.

    Raises:
        ValueError: features and means differ in D.
    """
    if features.shape[1] != means.shape[1]:
        raise ValueError(
            f"the statistics have {means.shape[1]} channels, the activations "
            f"{tuple(features.shape)} have {features.shape[1]}"
        )
    means, whitening = means.to(features), whitening.to(features)
    centre = means.mean(dim=0)  # a point among the means keeps the squares small
    targets = (means - centre) @ whitening.T
    lengths = targets.square().sum(dim=1)
    columns = features.movedim(1, 0)
    parts = []
    for part in columns.flatten(1).split(_CHUNK, dim=1):
        white = whitening @ (part - centre[:, None])
        relative = lengths[:, None] - 2 * targets @ white
        parts.append(white.square().sum(dim=0) + relative.amin(dim=0))
    return 0.5 * torch.cat(parts).clamp(min=0).view(columns.shape[1:])


def layer_distance(
    features: Tensor, tensor: Callable[[str], Tensor], index: int, *, relative: bool
) -> Tensor:
    """Distance at one layer from its tensors in the statistics, see `MahalanobisFitter.result`.

    Args:
        features: `(N, D, *)`.
        tensor: maps the name of a tensor to the tensor.
        index: of the layer.
        relative: subtract the distance to the Gaussian of all classes together.

    Returns:
        `(N, *)`.
    """
    means = tensor(f"means_{index}")
    present = tensor(f"counts_{index}") > 0
    distance = nearest_distance(features, means[present], tensor(f"whitening_{index}"))
    if not relative:
        return distance
    overall = tensor(f"overall_mean_{index}"), tensor(f"overall_whitening_{index}")
    return distance - nearest_distance(features, *overall)
