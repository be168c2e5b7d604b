"""Bootstrap over images: metrics of resamples, intervals, comparison of two methods."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from ood_seg.metrics import bootstrap as module
from ood_seg.metrics import resampling
from ood_seg.metrics.bootstrap import bootstrap_metrics, compare_methods
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.resampling import draw_weights, resampled_metrics


def histogram(scores, labels):
    # So few scores have a bin each, so that references compare exactly.
    return ScoreHistogram.from_scores(np.asarray(scores, np.float32), np.asarray(labels))


def draw_image(rng, size=60, shift=2.0, share=0.2):
    """Scores of one image; how far its anomalies stand out differs from image to image."""
    labels = (rng.random(size) < share).astype(int)
    found = shift + 1.5 * rng.normal()
    scores = np.round(rng.normal(size=size) * 2 + found * labels + rng.normal(), 1)
    return scores.astype(np.float32), labels


def reference(scores, labels):
    """The four metrics by scikit-learn and a loop."""
    fpr95 = None
    for threshold in sorted(set(scores.tolist()), reverse=True):
        flagged = scores >= threshold
        if 20 * (flagged & (labels == 1)).sum() >= 19 * (labels == 1).sum():
            fpr95 = (flagged & (labels == 0)).sum() / (labels == 0).sum()
            break
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "fpr95": fpr95,
        "best_f1": f1.max(),
    }


@pytest.mark.parametrize("block", [2**20, 40])
def test_metrics_of_resamples_equal_those_of_repeated_images(monkeypatch, block):
    monkeypatch.setattr(resampling, "_BLOCK", block)  # 40: many blocks of a few groups
    rng = np.random.default_rng(0)
    images = [draw_image(rng) for _ in range(5)]
    weights = rng.integers(0, 4, (7, 5))
    weights[0] = [0, 0, 1, 0, 0]
    result = resampled_metrics([histogram(*image) for image in images], weights)
    for row, counts in enumerate(weights):
        chosen = [image for image, count in zip(images, counts, strict=True) for _ in range(count)]
        scores, labels = (np.concatenate(part) for part in zip(*chosen, strict=True))
        for name, value in reference(scores, labels).items():
            assert result[name][row] == pytest.approx(value, abs=1e-12), name


def test_nineteen_of_twenty_anomalies_are_95_percent():
    scores, labels = np.arange(40), np.repeat([0, 1], 20)
    scores[20] = -1  # the one anomaly below all known pixels
    found = resampled_metrics([histogram(scores, labels)], [[1], [3]])
    assert found["fpr95"].tolist() == [0, 0]


def test_a_resample_without_a_class_is_nan():
    images = [histogram([1, 2], [0, 0]), histogram([3, 4], [1, 1])]
    result = resampled_metrics(images, [[2, 0], [0, 2], [1, 1]])
    for values in result.values():
        assert np.isnan(values).tolist() == [True, True, False]


def test_tiny_case_with_all_resamples_by_hand():
    # Image a: known 1, anomaly 2. Image b: known 3, anomaly 0.
    images = [histogram([1, 2], [0, 1]), histogram([3, 0], [0, 1])]
    weights = [[2, 0], [1, 1], [1, 1], [0, 2]]  # all four draws of two images
    result = resampled_metrics(images, weights)
    # Both: descending 3 known, 2 anomaly, 1 known, 0 anomaly.
    assert result["auroc"].tolist() == [1, 0.25, 0.25, 0]
    assert result["ap"].tolist() == [1, (1 / 2 + 2 / 4) / 2, (1 / 2 + 2 / 4) / 2, 1 / 2]
    assert result["fpr95"].tolist() == [0, 1, 1, 1]
    assert result["best_f1"] == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3])
    # 1/4 of the resamples gives 1, half 0.25, 1/4 gives 0: quantiles 10 % and 90 % are 0 and 1.
    found = bootstrap_metrics(images, samples=4000, level=0.8)
    assert found.intervals["auroc"] == (0.25, 0, 1)
    # At a level of 40 % both bounds lie in the middle half.
    assert bootstrap_metrics(images, samples=4000, level=0.4).intervals["auroc"] == (0.25,) * 3
    assert (found.samples, found.redrawn, found.num_images) == (4000, 0, 2)


def test_percentiles_agree_with_the_enumeration_of_all_resamples():
    rng = np.random.default_rng(3)
    images = [histogram(*draw_image(rng, size=30)) for _ in range(4)]
    draws = itertools.product(range(4), repeat=4)
    weights = [np.bincount(draw, minlength=4) for draw in draws]
    every = resampled_metrics(images, np.array(weights))
    found = bootstrap_metrics(images, samples=20000, level=0.5)
    for name, values in every.items():
        # The distribution has steps; the sampled quantile lies between neighbours of the exact.
        low, high = found.intervals[name][1:]
        assert np.quantile(values, 0.23) <= low <= np.quantile(values, 0.27)
        assert np.quantile(values, 0.73) <= high <= np.quantile(values, 0.77)


def test_bca_equals_scipy():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(5)
    images = [histogram(*draw_image(rng, shift=4)) for _ in range(12)]

    def auroc(index, axis=-1):
        counts = [np.bincount(row, minlength=12) for row in index.reshape(-1, index.shape[-1])]
        return resampled_metrics(images, np.array(counts))["auroc"].reshape(index.shape[:-1])

    found = bootstrap_metrics(images, samples=40000, method="bca")
    generator = np.random.default_rng(1)
    expected = bootstrap(
        (np.arange(12),), auroc, n_resamples=40000, batch=4000, rng=generator, method="BCa"
    ).confidence_interval
    low, high = found.intervals["auroc"][1:]
    width = high - low
    assert found.method == "bca"
    assert low == pytest.approx(expected.low, abs=0.04 * width)
    assert high == pytest.approx(expected.high, abs=0.04 * width)
    percentile = bootstrap_metrics(images, samples=40000).intervals["auroc"]
    # The correction is far larger than that tolerance, so it was tested.
    assert abs(percentile.low - low) > 0.08 * width


def test_bca_falls_back_where_one_image_holds_all_anomalies():
    images = [histogram([1, 2, 3], [0, 0, 1]), histogram([1, 4], [0, 0]), histogram([2], [0])]
    with pytest.warns(UserWarning, match="BCa intervals are undefined"):
        found = bootstrap_metrics(images, samples=50, method="bca")
    assert found.method == "percentile"
    assert np.isfinite(found.intervals["auroc"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", module.METHODS)
def test_intervals_cover_the_value_of_the_population(method):
    rng = np.random.default_rng(0)

    def images(count):
        return [histogram(*draw_image(rng, size=40, share=0.3)) for _ in range(count)]

    truth = resampled_metrics(images(2000), np.ones((1, 2000)))
    runs, hits = 100, dict.fromkeys(truth, 0)
    for run in range(runs):
        found = bootstrap_metrics(images(30), samples=200, level=0.8, method=method, seed=run)
        for name, (_, low, high) in found.intervals.items():
            hits[name] += low <= truth[name][0] <= high
    # Binomial: 80 % of 100 has a standard deviation of 4 %. An interval over pixels is blind to
    # what an image's pixels share, so it is far shorter (next test).
    for name, count in hits.items():
        assert 0.68 <= count / runs <= 0.92, (name, count / runs)


def test_intervals_over_images_are_wider_than_over_pixels():
    rng = np.random.default_rng(0)
    drawn = [draw_image(rng, size=200) for _ in range(10)]
    scores, labels = (np.concatenate(part) for part in zip(*drawn, strict=True))
    single = [histogram(scores[i : i + 1], labels[i : i + 1]) for i in range(scores.size)]
    over_images = bootstrap_metrics([histogram(*one) for one in drawn], samples=300)
    over_pixels = bootstrap_metrics(single, samples=300)
    wide, narrow = (r.intervals["auroc"] for r in (over_images, over_pixels))
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_seed_decides():
    rng = np.random.default_rng(0)
    images = [histogram(*draw_image(rng)) for _ in range(6)]
    once, again = (bootstrap_metrics(images, samples=50, seed=4) for _ in range(2))
    assert once == again
    assert bootstrap_metrics(images, samples=50, seed=5) != once


def test_resamples_without_a_class_are_drawn_again_and_counted():
    images = [histogram([1, 2, 3], [0, 0, 1])] + [histogram([1, 4], [0, 0])] * 4
    weights, redrawn = draw_weights(images, 2000, np.random.default_rng(0))
    assert weights.shape == (2000, 5)
    assert (weights.sum(axis=1) == 5).all()
    assert (weights[:, 0] > 0).all()
    # A draw misses the anomalous image with probability 0.8**5 = 0.328.
    assert redrawn / (2000 + redrawn) == pytest.approx(0.8**5, abs=0.04)
    found = bootstrap_metrics(images, samples=200)
    assert found.redrawn > 0
    assert np.isfinite(found.intervals["ap"]).all()


def test_nothing_to_resample():
    one = histogram([1, 2, 3, 4], [0, 1, 0, 1])
    with pytest.warns(UserWarning, match="one image alone"):
        found = bootstrap_metrics([one])
    assert found.intervals["auroc"].value == 0.75
    assert np.isnan(found.intervals["auroc"][1:]).all()
    with pytest.warns(UserWarning, match=r"4 known, 0 anomalous"):
        found = bootstrap_metrics([histogram([1, 2], [0, 0])] * 2)
    assert np.isnan(found.intervals["ap"]).all()
    assert found.samples == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"histograms": []}, "a histogram for each image, got none"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"method": "normal"}, "expected one of percentile, bca, got 'normal'"),
    ],
)
def test_wrong_arguments(arguments, message):
    good = {"histograms": [histogram([1, 2], [0, 1])] * 2}
    with pytest.raises(ValueError, match=message):
        bootstrap_metrics(**(good | arguments))


class TestComparison:
    @staticmethod
    def methods(gain, count=30, seed=0):
        rng = np.random.default_rng(seed)
        first, second = {}, {}
        for index in range(count):
            scores, labels = draw_image(rng)
            noise = rng.normal(size=scores.size) * 0.3
            first[f"{index}"] = histogram(scores, labels)
            second[f"{index}"] = histogram(scores + noise + gain * labels, labels)
        return first, second

    def test_a_better_method_is_found_and_exchange_turns_the_sign(self):
        first, second = self.methods(gain=1.5)
        found = compare_methods(first, second, samples=400)
        back = compare_methods(second, first, samples=400)
        one, other = found.differences["auroc"], back.differences["auroc"]
        assert one.difference == one.second - one.first
        assert 0 < one.low < one.difference < one.high
        assert one.p_value == pytest.approx(2 / 401)
        assert other[:2] == (one.second, one.first)
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
        assert found.differences["fpr95"].difference < 0

    def test_pairing_sees_what_single_intervals_hide(self):
        first, second = self.methods(gain=0.4)
        alone = [bootstrap_metrics(list(part.values())) for part in (first, second)]
        ap, other_ap = (result.intervals["ap"] for result in alone)
        assert ap.high > other_ap.low
        assert compare_methods(first, second).differences["ap"].p_value < 0.05

    def test_equal_methods_differ_by_nothing(self):
        first, _ = self.methods(gain=1)
        found = compare_methods(first, dict(reversed(first.items())), samples=50)
        for difference in found.differences.values():
            assert difference[2:] == (0, 0, 0, 1)

    def test_without_a_difference_p_values_are_uniform(self):
        rng, values = np.random.default_rng(0), []
        for _ in range(100):
            drawn = {str(index): draw_image(rng, size=30) for index in range(20)}
            noisy = [
                {
                    name: histogram(scores + rng.normal(size=scores.size), labels)
                    for name, (scores, labels) in drawn.items()
                }
                for _ in range(2)
            ]
            values.append(compare_methods(*noisy, samples=99).differences["auroc"].p_value)
        # Binomial: 20 % of 100 has a standard deviation of 4 %.
        assert 0.08 <= np.mean(np.array(values) <= 0.2) <= 0.32

    def test_images_must_match(self):
        first, second = self.methods(gain=1, count=3)
        del second["1"]
        with pytest.raises(ValueError, match="1 images are missing in the second method: 1;"):
            compare_methods(first, second)
        with pytest.raises(ValueError, match="missing in the first method"):
            compare_methods(second, first)
        second["1"] = histogram([1, 2], [0, 1])
        with pytest.raises(ValueError, match=r"1 images have other numbers .* first 1;"):
            compare_methods(first, second)

    def test_one_image_has_a_difference_without_bounds(self):
        first, second = self.methods(gain=1, count=1)
        with pytest.warns(UserWarning, match="one image alone"):
            found = compare_methods(first, second).differences["auroc"]
        assert found.difference == found.second - found.first
        assert np.isnan(found[3:]).all()
