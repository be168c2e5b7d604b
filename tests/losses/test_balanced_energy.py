"""The balanced energy loss: reference, published numbers, limiting cases, numerical range."""

import math

import numpy as np
import pytest
import torch

from ood_seg.losses import (
    BalancedEnergyLoss,
    balanced_energy_loss,
    checked_prior,
    energy_loss,
    log_balance,
)
from tests import references

MARGINS = {"margin_in": -4.0, "margin_out": -1.0}
PRIOR = [0.4, 0.1, 0.0, 0.2, 0.3]


@pytest.mark.parametrize(
    ("alpha", "gammas", "temperature"),
    [
        (5.0, (3.0, 3.0), 1.0),
        (2.0, (1.0, 0.5), 1.0),
        (1.0, (0.0, 2.0), 2.0),
        (0.0, (1.0, 1.0), 1.0),
    ],
)
def test_equals_reference(scene, alpha, gammas, temperature):
    logits, labels = scene
    value = balanced_energy_loss(
        logits,
        labels,
        PRIOR,
        alpha=alpha,
        gamma=99.0,
        margin_gamma=gammas[0],
        weight_gamma=gammas[1],
        temperature=temperature,
        **MARGINS,
    )
    expected = references.balanced_energy_loss(
        logits.numpy(), labels.numpy(), np.array(PRIOR), -4.0, -1.0, alpha, *gammas, temperature
    )
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_equals_released_code(published_batch):
    logits, labels, prior = published_batch
    margins = {"margin_in": -12.0, "margin_out": -6.0}
    value = balanced_energy_loss(logits, labels, prior, alpha=5.0, gamma=3.0, **margins)
    assert value.item() == pytest.approx(14.6195288, rel=1e-6)
    plain = balanced_energy_loss(logits, labels, prior, alpha=0.0, gamma=0.0, **margins)
    assert plain.item() == pytest.approx(12.7250271, rel=1e-6)


@pytest.mark.parametrize(("gamma", "z"), [(0, 0.05263159), (1, 0.11957482), (3, 0.21779446)])
def test_balance_equals_released_code(published_batch, gamma, z):
    logits, _, prior = published_batch
    value = log_balance(logits[0, :, 3, 4][None], checked_prior(prior, 19), gamma).exp()
    assert value.item() == pytest.approx(z, rel=1e-6)


def test_gamma_and_alpha_zero_is_the_plain_energy_loss_exactly(published_batch):
    logits, labels, prior = published_batch
    results = []
    for loss in (
        lambda f: energy_loss(f, labels, **MARGINS),
        lambda f: balanced_energy_loss(f, labels, prior, alpha=0.0, gamma=0.0, **MARGINS),
    ):
        batch = logits.clone().requires_grad_()
        value = loss(batch)
        value.backward()
        results.append((value.item(), batch.grad))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_gamma_zero_shifts_the_margin_by_alpha_over_classes(scene):
    shifted = energy_loss(*scene, margin_in=-4.0, margin_out=-1.0 + 3.0 / 5)
    value = balanced_energy_loss(*scene, PRIOR, alpha=3.0, gamma=0.0, **MARGINS)
    assert value.item() == pytest.approx(shifted.item(), rel=1e-12)


def test_two_outliers_worked_by_hand():
    # Two classes at probabilities (3/4, 1/4) and (1/4, 3/4), logits shifted so that E = -2.
    p = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64)
    logits = (p.log() + 2.0).T.reshape(1, 2, 1, 2)
    labels = torch.tensor([[[254, 254]]])
    # P = (0.8, 0.2), gamma 1: Z = 0.65 and 0.35; hinges (-1 + 2 Z + 2)^2 = 2.3^2 and 1.7^2.
    expected = 0.65 * 2.3**2 + 0.35 * 1.7**2
    value = balanced_energy_loss(logits, labels, [8, 2], alpha=2.0, gamma=1.0, **MARGINS)
    assert value.item() == pytest.approx(expected)


def test_prior_may_be_counts_and_its_scale_does_not_matter(scene):
    options = {"alpha": 2.0, "gamma": 1.5, **MARGINS}
    value = balanced_energy_loss(*scene, PRIOR, **options)
    counts = torch.tensor([400, 100, 0, 200, 300])
    assert balanced_energy_loss(*scene, counts, **options).item() == pytest.approx(value.item())


def test_permuting_classes_and_prior_changes_nothing(scene):
    logits, labels = scene
    order = [3, 0, 4, 1, 2]
    value = balanced_energy_loss(logits, labels, PRIOR, alpha=2.0, gamma=2.0, **MARGINS)
    permuted = balanced_energy_loss(
        logits[:, order], labels, [PRIOR[j] for j in order], alpha=2.0, gamma=2.0, **MARGINS
    )
    assert permuted.item() == pytest.approx(value.item(), rel=1e-12)


def test_gradient_matches_finite_differences_and_detaching_changes_it(scene):
    logits, labels = scene
    small, small_labels = logits[:1, :, 1:4, 2:5].clone().requires_grad_(), labels[:1, 1:4, 2:5]

    def loss(f, **kwargs):
        return balanced_energy_loss(
            f, small_labels, PRIOR, alpha=3.0, gamma=1.0, **MARGINS, **kwargs
        )

    assert torch.autograd.gradcheck(loss, (small,))
    (full,) = torch.autograd.grad(loss(small), small)
    (detached,) = torch.autograd.grad(loss(small, detach_balance=True), small)
    assert loss(small).item() == loss(small, detach_balance=True).item()
    assert (full - detached).abs().max() > 1e-3


def test_confident_pixels_on_classes_without_prior_stay_finite():
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1] = 300.0  # class 1 has prior zero, so Z is far below the smallest float
    logits.requires_grad_()
    labels = torch.full((1, 1, 2), 254)
    value = balanced_energy_loss(logits, labels, [0.5, 0.0, 0.5], alpha=5.0, gamma=3.0, **MARGINS)
    value.backward()
    # Z underflows to 0 in the margin, and equal weights remain: ((-1) - (-300))^2.
    assert value.item() == pytest.approx(299.0**2, rel=1e-6)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("kind", [0, 254, 255])
def test_one_kind_of_pixel_is_finite(scene, kind):
    logits = scene[0].clone().requires_grad_()
    labels = torch.full_like(scene[1], kind)
    value = balanced_energy_loss(logits, labels, PRIOR, alpha=2.0, gamma=1.0, **MARGINS)
    value.backward()
    assert math.isfinite(value.item())
    assert torch.isfinite(logits.grad).all()
    if kind != 254:  # no outlier: nothing to balance
        assert value.item() == energy_loss(scene[0], labels, **MARGINS).item()


def test_ignored_pixels_change_neither_value_nor_gradient(scene):
    logits, labels = scene
    options = {"alpha": 2.0, "gamma": 1.0, **MARGINS}
    changed = (logits + 30 * (labels == 255).unsqueeze(1)).requires_grad_()
    value = balanced_energy_loss(changed, labels, PRIOR, **options)
    value.backward()
    assert value.item() == balanced_energy_loss(logits, labels, PRIOR, **options).item()
    assert changed.grad.permute(0, 2, 3, 1)[labels == 255].abs().sum() == 0


def test_module_equals_function(scene):
    module = BalancedEnergyLoss(PRIOR, alpha=2.0, gamma=1.0, loss_weight=0.5, **MARGINS)
    expected = 0.5 * balanced_energy_loss(*scene, PRIOR, alpha=2.0, gamma=1.0, **MARGINS)
    assert module(*scene).item() == pytest.approx(expected.item(), rel=1e-6)
    assert module.state_dict() == {}


def test_module_without_prior_names_the_remedy(scene):
    module = BalancedEnergyLoss(alpha=2.0, gamma=1.0, **MARGINS)
    with pytest.raises(ValueError, match=r"BalancedEnergyLoss.*prior.*OutlierPriorHook"):
        module(*scene)
    module.set_prior([1, 1, 1, 1, 1])
    assert math.isfinite(module(*scene).item())


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([0.5, 0.5], r"prior.*\b5\b.*\(2,\)"),
        ([0.5, -0.1, 0.2, 0.2, 0.2], r"prior.*non-negative.*-0\.1"),
        ([0.5, float("nan"), 0.2, 0.2, 0.1], "prior.*finite.*nan"),
        ([0, 0, 0, 0, 0], "prior.*zero"),
    ],
)
def test_bad_priors_are_refused(scene, prior, message):
    with pytest.raises(ValueError, match=message):
        balanced_energy_loss(*scene, prior, alpha=1.0, gamma=1.0, **MARGINS)


def test_negative_gamma_is_refused(scene):
    with pytest.raises(ValueError, match=r"gamma.*-1\.0"):
        balanced_energy_loss(*scene, PRIOR, alpha=1.0, gamma=-1.0, **MARGINS)
