"""Weights that combine the scores of several layers, fitted by logistic regression.

Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and
Adversarial Attacks", NeurIPS 2018, section 2.2 (feature ensemble); Blum et al., "The Fishyscapes
Benchmark", IJCV 2021 (logistic regression over the layers' densities).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 100
_TOLERANCE = 1e-10


@torch.no_grad()
def fit_layer_weights(
    scores: Tensor, is_outlier: Tensor, *, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Weights such that `scores @ weights + bias` is the log odds of an outlier.

    Logistic regression with an L2 penalty on the weights of the standardised scores, solved by
    Newton's method in float64; deterministic. Equal to scikit-learn's
    `LogisticRegression(C=1 / strength)` after its `StandardScaler`.

    Args:
        scores: `(P, L)`, of P pixels or images at L layers.
        is_outlier: `(P,)` bool.
        strength: of the penalty `strength / 2 * |w|^2` added to the sum of the log losses.

    Returns:
        Weights `(L,)` and bias `()` in float64. A layer whose score does not vary has weight 0.

    Raises:
        ValueError: the shapes do not match, scores are not finite, or there are no known or no
            outlier scores.
    """
    if scores.ndim != 2 or scores.shape[:1] != is_outlier.shape:
        raise ValueError(
            "expected scores (P, L) and is_outlier (P,), got "
            f"{tuple(scores.shape)} and {tuple(is_outlier.shape)}"
        )
    if not scores.isfinite().all():
        raise ValueError("scores for the layer weights must be finite")
    num_outliers = int(is_outlier.sum())
    if not 0 < num_outliers < len(is_outlier):
        raise ValueError(
            "layer weights need scores of known and of outlier pixels, got "
            f"{len(is_outlier) - num_outliers} known and {num_outliers} outliers"
        )
    deviation, centre = torch.std_mean(scores.double(), dim=0, correction=0)
    varies = deviation > 0
    deviation = deviation.where(varies, torch.ones_like(deviation))
    inputs = F.pad(((scores - centre) / deviation) * varies, (0, 1), value=1.0)
    solution = _newton(inputs, is_outlier.double(), strength)
    weights = solution[:-1] / deviation * varies
    return weights, solution[-1] - weights @ centre


def _newton(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Minimiser `(L + 1,)` of the penalised log loss; the last input is the constant 1."""
    penalty = torch.full_like(inputs[0], strength)
    penalty[-1] = 0

    def loss(point: Tensor) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(inputs @ point, targets, reduction="sum")
        return losses + 0.5 * (penalty * point * point).sum()

    point = torch.zeros_like(inputs[0])
    value = loss(point)
    for _ in range(_STEPS):
        probability = torch.sigmoid(inputs @ point)
        gradient = inputs.T @ (probability - targets) + penalty * point
        if gradient.abs().max() <= _TOLERANCE * len(inputs):
            break
        curvature = probability * (1 - probability)
        hessian = inputs.T @ (curvature[:, None] * inputs) + penalty.diag()
        step = torch.linalg.lstsq(hessian, gradient).solution
        size = 1.0
        while loss(point - size * step) > value and size > 1e-8:
            size /= 2  # a full Newton step overshoots where the loss is nearly linear
        point = point - size * step
        value = loss(point)
    return point
