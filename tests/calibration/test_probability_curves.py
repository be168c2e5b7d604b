"""Fits of the anomaly probability against scikit-learn and cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ood_seg.calibration.curves import (
    IsotonicCurve,
    LogisticCurve,
    ScoreCounts,
    fit_isotonic,
    fit_logistic,
    score_counts,
)
from ood_seg.metrics.histogram import ScoreHistogram


def counts(scores, known, anomalous):
    return ScoreCounts(np.asarray(scores, float), np.asarray(known), np.asarray(anomalous))


def random_counts(seed, *, centre=0.0, spread=1.0, rare=20, size=50):
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=size))
    known = rng.integers(0, 1000, size)
    anomalous = rng.binomial(known // rare + 1, 1 / (1 + np.exp(-2 * scores)))
    return counts(scores * spread + centre, known, anomalous)


def expanded(data):
    """Samples, targets and weights as scikit-learn takes them."""
    scores = np.concatenate([data.scores, data.scores])
    targets = np.repeat([0, 1], data.scores.size)
    weights = np.concatenate([data.known, data.anomalous])
    return scores[weights > 0], targets[weights > 0], weights[weights > 0]


class TestLogistic:
    @pytest.mark.parametrize(
        "options",
        [{}, {"centre": -9, "spread": 3}, {"centre": 1e3}, {"spread": 1e-3}, {"rare": 900}],
    )
    @pytest.mark.parametrize("offset", [True, False])
    def test_equals_scikit_learn(self, options, offset):
        if not offset and "centre" in options:
            pytest.skip("without an offset the score must be a log-odds")
        data = random_counts(1, **options)
        scores, targets, weights = expanded(data)
        # The reference is fitted on a standardised score, where its own solver is exact.
        centre, spread = options.get("centre", 0), options.get("spread", 1)
        reference = LogisticRegression(
            C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky", fit_intercept=offset
        ).fit((scores[:, None] - centre) / spread, targets, weights)
        curve = fit_logistic(data, offset=offset)
        slope = reference.coef_[0, 0] / spread
        assert curve.slope == pytest.approx(slope, rel=1e-7)
        expected = reference.intercept_[0] - slope * centre if offset else 0
        assert curve.offset == pytest.approx(expected, rel=1e-7)

    def test_two_scores_by_hand(self):
        # One in four at score 0, three in four at score 1: odds 1/3 and 3.
        curve = fit_logistic(counts([0, 1], [3, 1], [1, 3]))
        assert curve.slope == pytest.approx(2 * np.log(3))
        assert curve.offset == pytest.approx(-np.log(3))

    def test_temperature_by_hand(self):
        # At +-2 three in four are right: sigmoid(2 / T) = 3/4.
        curve = fit_logistic(counts([-2, 2], [3, 1], [1, 3]), offset=False)
        assert 1 / curve.slope == pytest.approx(2 / np.log(3))
        assert curve.offset == 0

    def test_separated_scores_get_smoothed_targets(self):
        data = counts([0, 1], [8, 0], [0, 3])
        with pytest.warns(UserWarning, match="separate the classes perfectly"):
            curve = fit_logistic(data)
        # Two scores, two parameters: the curve meets both targets, 1/10 and 4/5.
        assert curve(torch.tensor([0.0, 1.0]).double()).tolist() == pytest.approx([0.1, 0.8])

    def test_quasi_separated_and_many_pixels(self):
        with pytest.warns(UserWarning, match="separate"):
            curve = fit_logistic(counts([-5, -4, -3], [10**7, 10, 0], [0, 10, 10**4]))
        assert np.isfinite([curve.slope, curve.offset]).all()
        assert curve.slope > 1

    def test_inverted_scores_are_refused(self):
        with pytest.raises(ValueError, match="are the scores inverted"):
            fit_logistic(counts([0, 1], [1, 3], [3, 1]))

    def test_temperature_of_a_score_that_is_no_log_odds_is_refused(self):
        with pytest.raises(ValueError, match="use method 'platt'"):
            fit_logistic(counts([1, 2], [99, 9], [1, 1]), offset=False)


class TestIsotonic:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_scikit_learn(self, seed):
        data = random_counts(seed, rare=5)
        scores, targets, weights = expanded(data)
        reference = IsotonicRegression(out_of_bounds="clip").fit(scores, targets, weights)
        curve = fit_isotonic(data)
        grid = np.linspace(-4, 4, 997)
        np.testing.assert_allclose(
            curve(torch.from_numpy(grid)).numpy(), reference.predict(grid), atol=1e-12
        )

    def test_by_hand(self):
        # Rates 0, 1/2, 1/4, 1: the middle two violate and share (1 + 1) / (2 + 4) = 1/3.
        curve = fit_isotonic(counts([1, 2, 3, 5], [2, 1, 3, 0], [0, 1, 1, 2]))
        assert curve.scores == (1, 2, 3, 5)
        assert curve.probabilities == pytest.approx((0, 1 / 3, 1 / 3, 1))
        values = curve(torch.tensor([0.0, 1.5, 2.5, 4.0, 9.0]))
        assert values.tolist() == pytest.approx([0, 1 / 6, 1 / 3, 2 / 3, 1])

    def test_inverted_scores_give_the_prior(self):
        curve = fit_isotonic(counts([0, 1], [1, 3], [3, 1]))
        assert curve(torch.tensor([-1.0, 0.3, 7.0])).tolist() == [0.5] * 3

    def test_scores_without_pixels_have_no_effect(self):
        curve = fit_isotonic(counts([0, 1, 2], [1, 0, 1], [0, 0, 1]))
        assert curve.scores == (0, 2)

    def test_one_knot(self):
        values = IsotonicCurve((1.0,), (0.25,))(torch.tensor([-1.0, 1.0, 3.0]))
        assert values.tolist() == [0.25] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fit", [fit_logistic, fit_isotonic])
@pytest.mark.parametrize("centre", [0, 1e3])
def test_curves_never_fall_and_stay_in_range(fit, dtype, centre):
    curve = fit(random_counts(0, centre=centre, rare=5))
    scores = torch.linspace(-60, 60, 100_001, dtype=torch.float64).to(dtype).add(centre)
    values = curve(torch.cat([scores[:1] * 0 - 3e38, scores, scores[:1] * 0 + 3e38]))
    assert values.dtype == dtype
    assert (values.diff() >= 0).all()
    assert values.min() >= 0
    assert values.max() <= 1
    assert curve(torch.tensor([float("nan")], dtype=dtype)).isnan().all()


@pytest.mark.parametrize("fit", [fit_logistic, fit_isotonic])
def test_odds(fit):
    curve = fit(random_counts(0, rare=5))
    knots = torch.tensor(getattr(curve, "scores", (-1.0, 0.0, 1.0)), dtype=torch.float64)
    before, after = curve(knots), curve.with_odds_times(7.0)(knots)
    torch.testing.assert_close(after * (1 - before), 7 * before * (1 - after))
    assert not torch.equal(before, after)


@pytest.mark.parametrize("fit", [fit_logistic, fit_isotonic])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (counts([0, 1], [0, 0], [1, 1]), "both classes, got 0 known and 2 anomalous"),
        (counts([0, 1], [4, 1], [0, 0]), "both classes, got 5 known and 0 anomalous"),
        (counts([3], [4], [5]), r"all scores are equal \(3\)"),
        (counts([3, 4], [4, 0], [5, 0]), r"all scores are equal \(3\)"),
        (counts([3, np.nan], [4, 1], [5, 1]), "must be finite"),
    ],
)
def test_bad_input(fit, data, message):
    with pytest.raises(ValueError, match=message):
        fit(data)


def test_score_counts_pool_images_at_the_middle_of_bins():
    images = [
        ScoreHistogram.from_scores(np.float32([-2, 1, 5]), np.array([0, 1, 255])),
        ScoreHistogram.from_scores(np.float32([1, 1]), np.array([0, 1])),
    ]
    data = score_counts(images)
    assert data.scores.tolist() == [-2, 1]
    assert data.known.tolist() == [1, 1]
    assert data.anomalous.tolist() == [0, 2]
    wide = ScoreHistogram(
        np.float32([1, 5]), np.float32([4, 5]), np.array([2, 0]), np.array([1, 1])
    )
    assert score_counts([wide]).scores.tolist() == [2.5, 5]


def test_logistic_curve_by_hand():
    values = LogisticCurve(2.0, -1.0)(torch.tensor([0.5, 1.0]))
    assert values.tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-1))])


def test_any_counts_converge_to_where_the_likelihood_is_flat():
    rng = np.random.default_rng(0)
    fitted = 0
    for _ in range(300):
        size = rng.integers(2, 30)
        scores = np.sort(rng.normal(size=size) * 10 ** rng.uniform(-4, 4) + 100 * rng.normal())
        known = rng.integers(0, 2, size) * (10 ** rng.uniform(0, 8, size)).astype(int)
        anomalous = rng.integers(0, 2, size) * (10 ** rng.uniform(0, 5, size)).astype(int)
        overlap = scores[known > 0].max(initial=-1e9) > scores[anomalous > 0].min(initial=1e9)
        if not overlap or np.average(scores, weights=known + 1e-9) >= np.average(
            scores, weights=anomalous + 1e-9
        ):
            continue  # separated or inverted
        curve = fit_logistic(counts(scores, known, anomalous))
        p = curve(torch.from_numpy(scores)).numpy()
        assert (known + anomalous) @ p == pytest.approx(anomalous.sum(), rel=1e-6)
        fitted += 1
    assert fitted > 80


@pytest.mark.slow
def test_a_histogram_of_a_large_set_takes_seconds():
    rng = np.random.default_rng(0)
    scores = np.sort(rng.normal(size=10**6))
    data = counts(scores, rng.integers(1, 50, 10**6), rng.binomial(3, 1 / (1 + np.exp(-scores))))
    assert fit_logistic(data).slope > 0
    assert len(fit_isotonic(data).scores) < 10**4
