"""Smoothness and sparsity, as released (sums) and normalised."""

import math

import numpy as np
import pytest
import torch

from ood_seg import scores
from ood_seg.losses import (
    BalancedSparsityLoss,
    SmoothnessLoss,
    SparsityLoss,
    smoothness,
    sparsity,
)
from tests import references


def test_smoothness_equals_a_loop(scene):
    energies = scores.energy(scene[0])
    expected = 0.0
    for image in energies.numpy():
        for y, x in np.ndindex(image.shape):
            below = image[min(y + 1, image.shape[0] - 1), x]
            right = image[y, min(x + 1, image.shape[1] - 1)]
            expected += 0.5 * ((below - image[y, x]) ** 2 + (right - image[y, x]) ** 2)
    assert smoothness(energies).item() == pytest.approx(expected)
    by_size = smoothness(energies, normalise=True)
    assert by_size.item() == pytest.approx(expected / energies.numel())


def test_smoothness_worked_by_hand():
    energies = torch.tensor([[[0.0, 1.0], [3.0, 5.0]]])
    # Down: 3 and 4; right: 1 and 2.
    assert smoothness(energies).item() == pytest.approx(0.5 * (9 + 16 + 1 + 4))


def test_sparsity_worked_by_hand():
    assert sparsity(torch.tensor([3.0, -4.0])).item() == pytest.approx(5.0)
    by_size = sparsity(torch.tensor([3.0, -4.0]), normalise=True)
    assert by_size.item() == pytest.approx(math.sqrt(12.5))


def test_only_the_sums_grow_with_the_batch(scene):
    one, two = scores.energy(scene[0][:1]), scores.energy(scene[0][:1].repeat(2, 1, 1, 1))
    assert smoothness(two).item() == pytest.approx(2 * smoothness(one).item())
    assert sparsity(two).item() == pytest.approx(math.sqrt(2) * sparsity(one).item())
    for function in (smoothness, sparsity):
        assert function(two, normalise=True).item() == pytest.approx(
            function(one, normalise=True).item()
        )


@pytest.mark.parametrize("normalise", [False, True])
def test_gradients(normalise):
    energies = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    for function in (smoothness, sparsity):
        assert torch.autograd.gradcheck(lambda e, f=function: f(e, normalise=normalise), energies)


@pytest.mark.parametrize("energies", [torch.zeros(4), torch.zeros(0)])
def test_sparsity_without_pixels_is_zero_with_a_gradient_of_zero(energies):
    energies = energies.clone().requires_grad_()
    value = sparsity(energies)
    value.backward()
    assert value.item() == 0
    assert energies.grad.abs().sum() == 0


def test_modules_use_the_energies_of_the_right_pixels(scene):
    logits, labels = scene
    energies = scores.energy(logits, 2.0)
    module = SmoothnessLoss(loss_weight=3e-6, temperature=2.0)
    assert module(logits, labels).item() == pytest.approx(3e-6 * smoothness(energies).item())
    module = SparsityLoss(loss_weight=5e-4, temperature=2.0)
    expected = 5e-4 * energies[labels == 254].norm().item()
    assert module(logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("normalise", [False, True])
def test_balanced_sparsity_equals_a_loop(scene, normalise):
    prior = [0.4, 0.1, 0.0, 0.2, 0.3]
    module = BalancedSparsityLoss(
        prior, alpha=5.0, gamma=3.0, loss_weight=5e-4, normalise=normalise
    )
    values = [
        references.energy(f) - 5.0 * references.balance(f, np.array(prior), 3.0)
        for f, label in references.pixels(*(part.numpy() for part in scene))
        if label == 254
    ]
    expected = 5e-4 * np.linalg.norm(values) / (math.sqrt(len(values)) if normalise else 1)
    assert module(*scene).item() == pytest.approx(expected, rel=1e-6)


def test_balanced_sparsity_accepts_a_prior_later(scene):
    module = BalancedSparsityLoss(alpha=5.0, gamma=3.0, loss_weight=5e-4)
    with pytest.raises(ValueError, match=r"BalancedSparsityLoss.*prior.*OutlierPriorHook"):
        module(*scene)
    module.set_prior(torch.tensor([4, 1, 0, 2, 3]))
    assert module.state_dict() == {}
    assert module(*scene) > 0


def test_bad_inputs_are_refused(scene):
    with pytest.raises(ValueError, match=r"energies.*\(N, H, W\).*\(4, 6\)"):
        smoothness(torch.zeros(4, 6))
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\).*\(1, 4, 6\)"):
        SparsityLoss(loss_weight=1.0)(scene[0], scene[1][:1])
