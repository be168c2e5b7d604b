"""Distillation from the pre-trained segmentor, which preserves the closed-set quality."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import checked_logits, means


def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    outlier_index: int = OUTLIER,
    ignore_index: int = IGNORE,
) -> Tensor:
    r"""Mean over known pixels of `T^2 KL(softmax(teacher / T) || softmax(logits / T))`.

    The softmax is invariant to a shift of all logits, which is what energy margins act on, so this
    term and an energy loss do not conflict. Source: Hinton, Vinyals and Dean, "Distilling the
    Knowledge in a Neural Network", 2015.

    Args:
        logits: `(N, C, *)` of the model in training.
        teacher_logits: `(N, C, *)` of the frozen model; no gradient reaches them.
        labels: `(N, *)`, integer; outlier and ignored pixels are left out.
        temperature: `T > 0`.
        outlier_index: label of outlier pixels.
        ignore_index: label of ignored pixels.

    Returns:
        Scalar, at least 0; zero if no pixel is known.

    Raises:
        TypeError: the logits are not floating point or the labels not integer.
        ValueError: the shapes do not match, or the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    logits = checked_logits(logits, labels)
    if teacher_logits.shape != logits.shape:
        raise ValueError(
            f"teacher_logits must have the shape of logits {tuple(logits.shape)}, "
            f"got {tuple(teacher_logits.shape)}"
        )
    known_mask, _ = split_labels(labels, outlier_index=outlier_index, ignore_index=ignore_index)
    student = (logits / temperature).log_softmax(dim=1)
    teacher = (teacher_logits.detach().to(logits) / temperature).log_softmax(dim=1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)
    # Indexing, not multiplying by the mask: 0 * NaN of an ignored pixel would be NaN.
    values, _ = means((divergence[known_mask].sum(), known_mask.sum()))
    return temperature**2 * values[0]
