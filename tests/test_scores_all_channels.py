"""Scores that use more than the class channels."""

import math

import numpy as np
import pytest
import torch

from ood_seg import scores
from tests import references

LOGITS = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(5)) * 3


def reference_residual(f):
    return references.energy(f[3:])


def reference_hybrid(f):
    return references.energy(f[:4]) + math.log(references.softmax(f[4:])[1])


def reference_likelihood_ratio(f):
    return f[5] - f[4] - max(f[:4])


PAIRS = [
    (scores.residual_energy, reference_residual),
    (scores.dense_hybrid, reference_hybrid),
    (scores.likelihood_ratio, reference_likelihood_ratio),
]
MODULES = [scores.ResidualEnergy, scores.DenseHybrid, scores.LikelihoodRatio]


@pytest.mark.parametrize(("function", "reference"), PAIRS)
def test_score_equals_reference(function, reference):
    expected = np.empty((2, 3, 4))
    for n, y, x in np.ndindex(2, 3, 4):
        expected[n, y, x] = reference(LOGITS[n, :, y, x].double().numpy())
    np.testing.assert_allclose(function(LOGITS.double()), expected, rtol=1e-10)
    np.testing.assert_allclose(function(LOGITS), expected, rtol=2e-4, atol=1e-5)


def test_values_worked_by_hand():
    logits = torch.tensor([[50.0, 50.0, math.log(3), math.log(1)]], dtype=torch.float64)
    assert scores.residual_energy(logits).item() == pytest.approx(-math.log(4))
    # -log(e^50 + e^50) + log(1/4)
    expected = -(50 + math.log(2)) - math.log(4)
    assert scores.dense_hybrid(logits).item() == pytest.approx(expected)


def test_residual_energy_takes_a_temperature_and_ignores_the_class_logits():
    changed = LOGITS.clone()
    changed[:, :3] += 100
    assert torch.equal(scores.residual_energy(changed, 2.0), scores.ResidualEnergy(2.0)(LOGITS))
    f = LOGITS[0, 3:, 0, 0].double().numpy()
    expected = references.energy(f, 2.0)
    assert scores.residual_energy(LOGITS.double(), 2.0)[0, 0, 0].item() == pytest.approx(expected)


def test_hybrid_stays_finite_and_ordered_where_probabilities_underflow():
    logits = torch.tensor([[1.0, 0.0, 200.0, 0.0], [1.0, 0.0, 300.0, 0.0]])
    low, lower = scores.dense_hybrid(logits)
    assert torch.isfinite(low)
    assert (low - lower).item() == pytest.approx(100.0)


def test_hybrid_rises_with_the_outlier_logit_and_falls_with_a_class_logit():
    for channel, sign in ((5, 1), (4, -1), (2, -1)):
        raised = LOGITS.clone()
        raised[:, channel] += 1
        assert (sign * (scores.dense_hybrid(raised) - scores.dense_hybrid(LOGITS)) > 0).all()


@pytest.mark.parametrize(("pair", "module"), list(zip(PAIRS, MODULES, strict=True)))
def test_module_equals_function_and_takes_all_channels(pair, module):
    assert torch.equal(module()(LOGITS), pair[0](LOGITS))
    assert module().channels == "all"


@pytest.mark.parametrize("function", [pair[0] for pair in PAIRS])
def test_half_precision_is_scored_in_float32(function):
    assert function(LOGITS.half()).dtype == torch.float32
    assert torch.equal(function(LOGITS.half()), function(LOGITS.half().float()))


@pytest.mark.parametrize("function", [pair[0] for pair in PAIRS])
def test_integer_logits_are_refused(function):
    with pytest.raises(TypeError, match=r"logits.*torch\.int64"):
        function(LOGITS.long())


def test_wrong_channel_counts_are_refused():
    with pytest.raises(ValueError, match=r"logits.*ResidualPatternHead.*\b5\b"):
        scores.residual_energy(LOGITS[:, :5])
    with pytest.raises(ValueError, match=r"logits.*DenseHybridHead.*\b2\b"):
        scores.dense_hybrid(LOGITS[:, :2])
    with pytest.raises(ValueError, match=r"2 channels.*got 2\b.*out_channels=2"):
        scores.likelihood_ratio(LOGITS[:, :2])
