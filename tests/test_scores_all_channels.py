"""Scores that use more than the class channels."""

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma, gammaln
from scipy.stats import dirichlet

from ood_seg import scores
from ood_seg.scores import _gamma
from tests import references

LOGITS = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(5)) * 3


def reference_residual(f):
    return references.energy(f[3:])


def reference_hybrid(f):
    return references.energy(f[:4]) + math.log(references.softmax(f[4:])[1])


def reference_likelihood_ratio(f):
    return f[5] - f[4] - max(f[:4])


def reference_outlier_max_softmax(f):
    return -math.log(references.softmax(f[4:])[0] * max(references.softmax(f[:4])))


def reference_evidential_ratio(f):
    alpha = [math.exp(z) + 1 for z in f[4:]]
    return alpha[1] / sum(alpha)


def reference_extra_class(f):
    p = references.softmax(f)[5]
    return math.log(p) - math.log(1 - p)


def reference_entropy(f):
    return dirichlet(np.exp(f[3:])).entropy()


def reference_mutual_information(f):
    """Of the entropy of the mean and the mean entropy, which has a closed form."""
    alpha = np.exp(f[3:])
    p = alpha / alpha.sum()
    mean_entropy = digamma(alpha.sum() + 1) - (p * digamma(alpha + 1)).sum()
    return -(p * np.log(p)).sum() - mean_entropy


def reference_vacuity(f):
    return 3 / np.exp(f[3:]).sum()


PAIRS = [
    (scores.residual_energy, reference_residual),
    (scores.dense_hybrid, reference_hybrid),
    (scores.likelihood_ratio, reference_likelihood_ratio),
    (scores.outlier_odds, lambda f: f[5] - f[4]),
    (scores.outlier_max_softmax, reference_outlier_max_softmax),
    (scores.evidential_ratio, reference_evidential_ratio),
    (scores.extra_class, reference_extra_class),
    (scores.differential_entropy, reference_entropy),
    (scores.mutual_information, reference_mutual_information),
    (scores.vacuity, reference_vacuity),
]
MODULES = [
    scores.ResidualEnergy,
    scores.DenseHybrid,
    scores.LikelihoodRatio,
    scores.OutlierOdds,
    scores.OutlierMaxSoftmax,
    scores.EvidentialRatio,
    scores.ExtraClass,
    scores.DifferentialEntropy,
    scores.MutualInformation,
    scores.Vacuity,
]


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
    with pytest.raises(ValueError, match=r"got 5\b.*out_channels=K"):
        scores.vacuity(LOGITS[:, :5])


@pytest.mark.parametrize("function", [pair[0] for pair in PAIRS[2:]])
@pytest.mark.parametrize("scale", [1e2, 1e30])
def test_extreme_channels_give_finite_scores(function, scale):
    assert torch.isfinite(function(scale * LOGITS)).all()


def test_evidence_of_known_data_ranks_below_none_and_conflict_in_between():
    known, conflict, none = ([6.0, 0.0, 0.0], [6.0, 6.0, 0.0], [0.0, 0.0, 0.0])
    logits = torch.tensor([[0.0] * 3 + row for row in (known, conflict, none)])
    for score in (scores.differential_entropy, scores.mutual_information, scores.vacuity):
        low, _, high = score(logits).tolist()
        assert low < high
    entropies = scores.differential_entropy(logits)
    assert entropies[2].item() == pytest.approx(-math.log(2))  # of the flat one, -log (K - 1)!
    assert entropies.argmax() == 2


def test_certain_pixels_keep_their_order():
    # p(known) max p is 1 in float32 for both.
    logits = torch.tensor([[30.0, 0.0, 30.0, 0.0], [40.0, 0.0, 40.0, 0.0]])
    found = scores.outlier_max_softmax(logits)
    assert (found >= 0).all()
    assert scores.outlier_odds(logits)[0] > scores.outlier_odds(logits)[1]


def test_the_gamma_functions_of_exported_graphs(monkeypatch):
    x = torch.logspace(-8, 8, 400, dtype=torch.float64)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    np.testing.assert_allclose(_gamma.log_gamma(x), gammaln(x.numpy()), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(_gamma.digamma(x), digamma(x.numpy()), rtol=1e-11, atol=1e-11)
