"""Slow NumPy versions of the formulas, written from the papers, one pixel at a time."""

from __future__ import annotations

import numpy as np

OUTLIER, IGNORE = 254, 255


def pixels(logits: np.ndarray, labels: np.ndarray):
    """Yield `(class logits, label)` of every pixel of `(N, C, H, W)` and `(N, H, W)`."""
    for index in np.ndindex(labels.shape):
        yield logits[index[0], :, index[1], index[2]].astype(np.float64), int(labels[index])


def energy(f: np.ndarray, temperature: float = 1.0) -> float:
    """Liu et al. 2020, eq. 4, summed directly."""
    return float(-temperature * np.log(sum(np.exp(value / temperature) for value in f)))


def softmax(f: np.ndarray) -> np.ndarray:
    """Probabilities."""
    exponentials = np.array([np.exp(value) for value in f])
    return exponentials / exponentials.sum()


def entropy(f: np.ndarray) -> float:
    """Shannon entropy in nats."""
    return float(-sum(p * np.log(p) for p in softmax(f) if p > 0))


def generalized_entropy(f: np.ndarray, gamma: float = 0.1, top: int | None = None) -> float:
    """Liu et al. 2023, eq. 5, over the `top` most probable classes."""
    most_probable = sorted(softmax(f), reverse=True)[:top]
    return float(sum(p**gamma * (1 - p) ** gamma for p in most_probable))


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
    """Balanced energy loss, numerator and denominator of the outlier term summed separately."""
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


def outlier_exposure_loss(logits, labels) -> float:
    """Mean over outlier pixels of the cross entropy to the uniform distribution."""
    values = [
        np.mean([-np.log(p) for p in softmax(f)])
        for f, label in pixels(logits, labels)
        if label == OUTLIER
    ]
    return float(np.mean(values)) if values else 0.0


def meta_ood_loss(logits, labels, outlier_weight) -> float:
    """Mean of target * -log softmax over every element of the batch."""
    values = []
    for f, label in pixels(logits, labels):
        target = np.zeros(len(f))
        if label == OUTLIER:
            target[:] = outlier_weight / len(f)
        elif label != IGNORE:
            target[label] = 1 - outlier_weight
        values.extend(t * -np.log(p) for t, p in zip(target, softmax(f), strict=True))
    return float(np.mean(values))


def blurred(image: np.ndarray, taps: int = 7, sigma: float = 1.0) -> np.ndarray:
    """Gaussian blur of one image, borders mirrored without repeating the edge."""
    reach = taps // 2
    weights = np.array([np.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)])
    weights /= weights.sum()
    padded = np.pad(image, reach, mode="reflect")
    out = np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        out[y, x] = weights @ padded[y : y + taps, x : x + taps] @ weights
    return out


def abstention_loss(logits, labels, outlier_weight, fixed_reward=None) -> float:
    """PEBAL's loss with plain probabilities, image by image, summed as in the released code."""
    clean, known, outlier = [], [], []
    for scores, image_labels in zip(logits.astype(np.float64), labels, strict=True):
        squared = np.zeros(image_labels.shape)
        for y, x in np.ndindex(image_labels.shape):
            squared[y, x] = energy(scores[:-1, y, x]) ** 2
        reward = np.full(squared.shape, fixed_reward) if fixed_reward else blurred(squared)
        has_outlier = (image_labels == OUTLIER).any()
        for y, x in np.ndindex(image_labels.shape):
            p = softmax(scores[:, y, x])
            abstained = p[-1] / reward[y, x]
            label = int(image_labels[y, x])
            if label == OUTLIER:
                outlier += [np.log(max(p[k] + abstained, 1e-7)) for k in range(len(p) - 1)]
            elif label != IGNORE:
                (known if has_outlier else clean).append(np.log(p[label] + abstained))
    parts = [np.mean(part) if part else 0.0 for part in (clean, known, outlier)]
    return float(-(parts[0] + parts[1] + outlier_weight * parts[2]))
