"""Scores equal their slow references, on dense and image-level logits."""

import math

import numpy as np
import pytest
import torch

from ood_seg import scores
from tests import references

LOGITS = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1)) * 3
FUNCTIONS = [scores.max_softmax, scores.max_logit, scores.entropy, scores.energy]
MODULES = [scores.MaxSoftmax, scores.MaxLogit, scores.Entropy, scores.Energy]
REFERENCES = [
    lambda f: 1 - references.softmax(f).max(),
    lambda f: -f.max(),
    references.entropy,
    references.energy,
]


@pytest.mark.parametrize(("function", "reference"), list(zip(FUNCTIONS, REFERENCES, strict=True)))
def test_score_equals_reference(function, reference):
    expected = np.empty((2, 3, 4))
    for n, y, x in np.ndindex(2, 3, 4):
        expected[n, y, x] = reference(LOGITS[n, :, y, x].double().numpy())
    np.testing.assert_allclose(function(LOGITS.double()), expected, rtol=1e-10)
    np.testing.assert_allclose(function(LOGITS), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 10.0])
def test_energy_with_temperature_equals_reference(temperature):
    f = LOGITS[0, :, 1, 2].double()
    expected = references.energy(f.numpy(), temperature)
    assert scores.energy(f[None], temperature).item() == pytest.approx(expected, rel=1e-12)
    assert scores.Energy(temperature)(f[None]).item() == pytest.approx(expected, rel=1e-12)


def test_values_worked_by_hand():
    logits = torch.tensor([[math.log(3.0), math.log(1.0)]], dtype=torch.float64)
    assert scores.max_softmax(logits).item() == pytest.approx(0.25)
    assert scores.max_logit(logits).item() == pytest.approx(-math.log(3))
    assert scores.energy(logits).item() == pytest.approx(-math.log(4))
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert scores.entropy(logits).item() == pytest.approx(by_hand)


@pytest.mark.parametrize(("function", "module"), list(zip(FUNCTIONS, MODULES, strict=True)))
def test_module_equals_function(function, module):
    assert torch.equal(module()(LOGITS), function(LOGITS))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_image_level_logits_give_one_score_each(function):
    dense = function(LOGITS)
    assert torch.equal(function(LOGITS[:, :, 1, 2]), dense[:, 1, 2])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_class_order_does_not_matter(function):
    torch.testing.assert_close(function(LOGITS.flip(1)), function(LOGITS))


@pytest.mark.parametrize("function", [scores.max_softmax, scores.entropy])
def test_softmax_scores_ignore_a_common_shift_and_energy_follows_it(function):
    torch.testing.assert_close(function(LOGITS + 7), function(LOGITS), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.energy(LOGITS + 7), scores.energy(LOGITS) - 7)


def test_uniform_logits_reach_the_upper_bounds():
    logits = torch.zeros(1, 19)
    assert scores.max_softmax(logits).item() == pytest.approx(18 / 19)
    assert scores.entropy(logits).item() == pytest.approx(math.log(19))


def test_extreme_logits_stay_finite_and_ordered():
    logits = torch.tensor([[1e4, 0.0], [200.0, 0.0], [-1e4, -1e4]])
    for function in FUNCTIONS:
        assert torch.isfinite(function(logits)).all()
    assert scores.entropy(torch.tensor([[0.0, -math.inf]])).item() == 0
    confident = scores.max_softmax(torch.tensor([[12.0, 0.0], [14.0, 0.0]]))
    assert confident[0] > confident[1] > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32(dtype):
    half = LOGITS.to(dtype)
    for function in FUNCTIONS:
        assert function(half).dtype == torch.float32
        assert torch.equal(function(half), function(half.float()))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_match_finite_differences(function):
    logits = LOGITS[:1, :, :2, :2].double().requires_grad_()
    assert torch.autograd.gradcheck(function, (logits,))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_logits_are_refused(function):
    with pytest.raises(TypeError, match="floating point"):
        function(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(N, C, \*\)"):
        function(torch.zeros(3))
    with pytest.raises(ValueError, match="at least one channel"):
        function(torch.zeros(2, 0, 4, 4))


def test_bad_temperature_is_refused():
    for call in (lambda: scores.energy(LOGITS, 0.0), lambda: scores.Energy(-1.0)):
        with pytest.raises(ValueError, match="temperature must be positive"):
            call()
