"""Slow NumPy versions of the formulas, written from the papers, one pixel at a time."""

from __future__ import annotations

import numpy as np

OUTLIER, IGNORE = 254, 255


def pixels(logits: np.ndarray, labels: np.ndarray):
    """Yield `(class logits, label)` of every pixel of `(N, C, H, W)` and `(N, H, W)`."""
    for index in np.ndindex(labels.shape):
        yield logits[index[0], :, index[1], index[2]].astype(np.float64), int(labels[index])


def energy(f: np.ndarray, temperature: float = 1.0) -> float:
    """Liu et al. 2020, eq. 4, summed as it stands."""
    return float(-temperature * np.log(sum(np.exp(value / temperature) for value in f)))


def softmax(f: np.ndarray) -> np.ndarray:
    """Probabilities."""
    exponentials = np.array([np.exp(value) for value in f])
    return exponentials / exponentials.sum()


def entropy(f: np.ndarray) -> float:
    """Shannon entropy in nats."""
    return float(-sum(p * np.log(p) for p in softmax(f) if p > 0))


def energy_loss(logits, labels, margin_in, margin_out, temperature=1.0) -> float:
    """EnergyOE with two squared hinges; mean of the terms that have pixels."""
    known, outlier = [], []
    for f, label in pixels(logits, labels):
        e = energy(f, temperature)
        if label == OUTLIER:
            outlier.append(max(0.0, margin_out - e) ** 2)
        elif label != IGNORE:
            known.append(max(0.0, e - margin_in) ** 2)
    return float(np.mean([np.mean(terms) for terms in (known, outlier) if terms]))


def balance(f: np.ndarray, prior: np.ndarray, gamma: float) -> float:
    """Z of Choi et al. 2023."""
    powered = np.array([p**gamma for p in prior])
    return float(sum(softmax(f)[j] * powered[j] / powered.sum() for j in range(len(f))))


def balanced_energy_loss(
    logits,
    labels,
    prior,
    margin_in,
    margin_out,
    alpha,
    margin_gamma,
    weight_gamma,
    temperature=1.0,
) -> float:
    """Balanced energy loss, numerator and denominator of the outlier term summed apart."""
    known, numerator, denominator = [], 0.0, 0.0
    for f, label in pixels(logits, labels):
        e = energy(f, temperature)
        if label == OUTLIER:
            hinge = max(0.0, margin_out + alpha * balance(f, prior, margin_gamma) - e)
            weight = balance(f, prior, weight_gamma)
            numerator += hinge**2 * weight
            denominator += weight
        elif label != IGNORE:
            known.append(max(0.0, e - margin_in) ** 2)
    terms = [np.mean(known)] if known else []
    terms += [numerator / denominator] if denominator else []
    return float(np.mean(terms))


def distillation_loss(logits, teacher, labels, temperature=1.0) -> float:
    """Mean over known pixels of T^2 KL(teacher || student)."""
    values = []
    for (f, label), (g, _) in zip(pixels(logits, labels), pixels(teacher, labels), strict=True):
        if label not in (OUTLIER, IGNORE):
            p, q = softmax(g / temperature), softmax(f / temperature)
            values.append(sum(p[j] * np.log(p[j] / q[j]) for j in range(len(f))))
    return float(temperature**2 * np.mean(values))
