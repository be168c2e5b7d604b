"""Scores equal their slow references, on dense and image-level logits."""

import math

import numpy as np
import pytest
import torch

from ood_seg import scores
from tests import references

LOGITS = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1)) * 3
FUNCTIONS = [
    scores.max_softmax,
    scores.max_logit,
    scores.entropy,
    scores.generalized_entropy,
    scores.energy,
]
MODULES = [
    scores.MaxSoftmax,
    scores.MaxLogit,
    scores.Entropy,
    scores.GeneralizedEntropy,
    scores.Energy,
]
SOFTMAX_FUNCTIONS = [scores.max_softmax, scores.entropy, scores.generalized_entropy]
REFERENCES = [
    lambda f: 1 - references.softmax(f).max(),
    lambda f: -f.max(),
    references.entropy,
    references.generalized_entropy,
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
    # Two classes: p (1 - p) = 3/16 for both.
    assert scores.generalized_entropy(logits).item() == pytest.approx(2 * (3 / 16) ** 0.1)
    root = math.sqrt(3)  # the softmax of half the logits is proportional to (sqrt 3, 1)
    assert scores.max_softmax(logits, 2.0).item() == pytest.approx(1 - root / (root + 1))


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


@pytest.mark.parametrize("function", SOFTMAX_FUNCTIONS)
def test_softmax_scores_are_invariant_to_a_common_shift_and_energy_follows_it(function):
    torch.testing.assert_close(function(LOGITS + 7), function(LOGITS), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.energy(LOGITS + 7), scores.energy(LOGITS) - 7)


def test_uniform_logits_reach_the_upper_bounds():
    logits = torch.zeros(1, 19)
    assert scores.max_softmax(logits).item() == pytest.approx(18 / 19)
    assert scores.entropy(logits).item() == pytest.approx(math.log(19))
    bound = 19 * (1 / 19 - 1 / 19**2) ** 0.1
    assert scores.generalized_entropy(logits).item() == pytest.approx(bound)
    peaked = scores.generalized_entropy(torch.randn(50, 19, generator=torch.Generator()))
    assert (peaked < bound).all()


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
    with pytest.raises(TypeError, match=r"logits.*torch\.int64"):
        function(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"logits.*\(N, C, \*\).*\(3,\)"):
        function(torch.zeros(3))
    with pytest.raises(ValueError, match=r"logits.*channel.*\(2, 0, 4, 4\)"):
        function(torch.zeros(2, 0, 4, 4))


def test_bad_temperature_is_refused():
    for call in (
        lambda: scores.energy(LOGITS, 0.0),
        lambda: scores.Energy(-1.0),
        lambda: scores.max_softmax(LOGITS, -2.0),
        lambda: scores.MaxSoftmax(math.nan),
    ):
        with pytest.raises(ValueError, match=r"temperature.*(0\.0|-1\.0|-2\.0|nan)"):
            call()


@pytest.mark.parametrize("temperature", [0.5, 10.0, 1000.0])
def test_max_softmax_with_temperature_equals_reference(temperature):
    f = LOGITS[0, :, 1, 2].double()
    expected = 1 - references.softmax(f.numpy() / temperature).max()
    assert scores.max_softmax(f[None], temperature).item() == pytest.approx(expected, rel=1e-12)
    assert scores.MaxSoftmax(temperature)(f[None]).item() == pytest.approx(expected, rel=1e-12)


def test_temperature_separates_scores_that_round_to_certainty():
    logits = torch.tensor([[30.0, 0.0], [60.0, 0.0]])
    assert scores.max_softmax(logits)[0] == scores.max_softmax(logits)[1]
    warm = scores.max_softmax(logits, 1000.0)
    assert warm[0] > warm[1]


@pytest.mark.parametrize("gamma", [0.01, 0.1, 0.9])
@pytest.mark.parametrize("top", [None, 1, 2, 4, 5, 100])
def test_generalized_entropy_equals_reference(gamma, top):
    expected = np.empty((2, 3, 4))
    for n, y, x in np.ndindex(2, 3, 4):
        pixel = LOGITS[n, :, y, x].double().numpy()
        expected[n, y, x] = references.generalized_entropy(pixel, gamma, top)
    for logits, tolerance in ((LOGITS.double(), 1e-9), (LOGITS, 1e-5)):
        found = scores.generalized_entropy(logits, gamma, top)
        np.testing.assert_allclose(found, expected, rtol=tolerance)
        assert torch.equal(scores.GeneralizedEntropy(gamma, top)(logits), found)


def test_generalized_entropy_orders_confident_predictions():
    """Where a probability rounds to 1, its complement must not round to 0."""
    logits = torch.tensor([[0.0, -20.0], [0.0, -40.0], [0.0, -80.0]])
    found = scores.generalized_entropy(logits)
    torch.testing.assert_close(found, 2 * torch.tensor([20.0, 40.0, 80.0]).mul(-0.1).exp())


def test_generalized_entropy_of_one_probability_is_symmetric_about_one_half():
    logit = torch.linspace(-8, 8, 9, dtype=torch.float64)
    pairs = torch.stack([logit, torch.zeros(9)], dim=1)
    found = scores.generalized_entropy(pairs)
    torch.testing.assert_close(found, found.flip(0))
    assert (found[:5].diff() > 0).all()


@pytest.mark.parametrize("gamma", [0.0, 1.0, -0.1, math.nan])
def test_bad_exponents_are_refused(gamma):
    with pytest.raises(ValueError, match=f"gamma.*{gamma}"):
        scores.generalized_entropy(LOGITS, gamma)
    with pytest.raises(ValueError, match=f"gamma.*{gamma}"):
        scores.GeneralizedEntropy(gamma)


def test_bad_class_counts_are_refused():
    for call in (
        lambda: scores.generalized_entropy(LOGITS, top_classes=0),
        lambda: scores.GeneralizedEntropy(top_classes=-3),
    ):
        with pytest.raises(ValueError, match=r"top_classes.*(\b0|-3)"):
            call()


def test_a_single_class_has_constant_softmax_scores():
    logits = torch.tensor([[3.0], [-7.0]])
    for function in SOFTMAX_FUNCTIONS:
        assert torch.equal(function(logits), torch.zeros(2))
    for function in (scores.energy, scores.max_logit):
        torch.testing.assert_close(function(logits), -logits[:, 0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_batches_may_be_split(function):
    parts = torch.cat([function(LOGITS[:1]), function(LOGITS[1:])])
    torch.testing.assert_close(parts, function(LOGITS))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_raising_the_first_class_lowers_the_score(function):
    first = LOGITS.argmax(dim=1, keepdim=True)
    higher = LOGITS.scatter_add(1, first, torch.ones(first.shape))
    assert (function(higher) < function(LOGITS)).all()


@pytest.mark.parametrize("shape", [(2, 5, 90, 700), (1, 5, 3, 200_000), (70_000, 7)])
def test_generalized_entropy_of_large_maps_is_that_of_their_parts(shape):
    logits = 4 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole = scores.generalized_entropy(logits)
    assert whole.shape == (shape[0], *shape[2:])
    parts = [scores.generalized_entropy(part) for part in logits.split(max(1, shape[0] // 7))]
    torch.testing.assert_close(whole, torch.cat(parts))
    pixel = logits[0, :, 1, 1:2].t() if len(shape) == 4 else logits[1:2]
    expected = whole[0, 1, 1] if len(shape) == 4 else whole[1]
    p = pixel.double().softmax(1)
    torch.testing.assert_close(expected.double(), ((p * (1 - p)) ** 0.1).sum(), rtol=1e-5, atol=0)
