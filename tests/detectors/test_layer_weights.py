"""Layer weights against scikit-learn's logistic regression, hand-worked and limiting cases."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ood_seg.detectors.layer_weights import fit_layer_weights

GENERATOR = torch.Generator().manual_seed(1)
OUTLIER = torch.rand(400, generator=GENERATOR) < 0.3
SCALES = torch.tensor([1.0, 1e4, 1e-3])
SCORES = torch.randn(400, 3, generator=GENERATOR) + OUTLIER[:, None] * torch.tensor([2, 0.3, -1])
SCORES = SCORES * SCALES + 5 * SCALES


@pytest.mark.parametrize("strength", [1.0, 30.0, 0.01])
def test_equals_scikit_learn_on_standardised_scores(strength):
    weights, bias = fit_layer_weights(SCORES, OUTLIER, strength=strength)
    scores = SCORES.double().numpy()
    standard = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    reference = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=1000)
    reference.fit(standard, OUTLIER.numpy())
    np.testing.assert_allclose(
        scores @ weights.numpy() + bias.item(),
        reference.decision_function(standard),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(weights.numpy() * scores.std(axis=0), reference.coef_[0], rtol=1e-5)


def test_hand_worked_two_pixels():
    # Standardised scores -1 and 1: w solves w = 2 (1 - sigmoid(w)), and the bias is the midpoint.
    weights, bias = fit_layer_weights(torch.tensor([[2.0], [6.0]]), torch.tensor([False, True]))
    inner = weights.item() * 2
    assert inner == pytest.approx(2 * (1 - 1 / (1 + math.exp(-inner))), abs=1e-9)
    assert bias.item() == pytest.approx(-4 * weights.item())


def test_separable_scores_have_finite_weights():
    scores = torch.cat([torch.arange(50.0), torch.arange(1000.0, 1050.0)]).unsqueeze(1)
    weights, bias = fit_layer_weights(scores, scores[:, 0] >= 1000, strength=1e-3)
    odds = scores.double() @ weights + bias
    assert odds.isfinite().all()
    assert torch.equal(odds > 0, scores[:, 0] >= 1000)


def test_layer_that_does_not_vary_has_weight_zero():
    constant = torch.full((400, 1), 7.0)
    weights, bias = fit_layer_weights(torch.cat([SCORES, constant], dim=1), OUTLIER)
    alone, alone_bias = fit_layer_weights(SCORES, OUTLIER)
    np.testing.assert_allclose(weights, [*alone, 0], rtol=1e-8)
    assert bias.item() == pytest.approx(alone_bias.item())


def test_copies_of_a_layer_share_its_weight():
    weights, _ = fit_layer_weights(SCORES[:, [0, 0]], OUTLIER)
    assert weights[0].item() == pytest.approx(weights[1].item())


def test_bad_input():
    with pytest.raises(ValueError, match=r"scores.*\(P, L\).*is_outlier.*\(400, \d\).*\(5,\)"):
        fit_layer_weights(SCORES, OUTLIER[:5])
    with pytest.raises(ValueError, match=r"\b400\b.*\b0\b"):
        fit_layer_weights(SCORES, torch.zeros(400, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"scores.*finite"):
        fit_layer_weights(SCORES.where(SCORES < 6, torch.nan), OUTLIER)
