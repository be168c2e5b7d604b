"""Score histograms and the keys of scores, against direct comparison and counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_seg.metrics import histogram as module
from ood_seg.metrics import pixel_metrics
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.keys import key_scores, score_keys
from ood_seg.metrics.rank_metrics import metrics_from_counts

LARGEST = np.finfo(np.float32).max
SMALLEST = np.float32(1e-45)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


class TestKeys:
    def test_by_hand(self):
        scores = np.array([-1, 0, 1], np.float32)
        # 1.0 has the bits 3f800000: sign set above zero, all bits flipped below.
        assert score_keys(scores).tolist() == [0x407FFFFF, 0x80000000, 0xBF800000]

    @given(st.lists(FLOATS, min_size=2, max_size=20))
    def test_keys_compare_as_scores(self, values):
        scores = np.array(values, np.float32)
        keys = score_keys(scores)
        np.testing.assert_array_equal(np.less.outer(keys, keys), np.less.outer(scores, scores))

    @given(st.lists(FLOATS, max_size=20))
    def test_keys_lead_back(self, values):
        scores = np.array(values, np.float32)
        np.testing.assert_array_equal(key_scores(score_keys(scores)), scores)

    def test_signed_zeros_share_a_key(self):
        keys = score_keys(np.array([-0.0, 0.0, -SMALLEST, SMALLEST], np.float32))
        assert keys[0] == keys[1]
        assert keys[2] < keys[0] < keys[3]

    def test_float64_beyond_float32_keeps_its_side(self):
        keys = score_keys(np.array([-1e300, -LARGEST, LARGEST, 1e300]))
        assert keys[0] == keys[1] < keys[2] == keys[3]

    def test_scores_are_unchanged(self):
        scores = np.array([-0.0, -3.5], np.float32)
        score_keys(scores)
        assert np.signbit(scores[0])
        assert scores[1] == -3.5


def counted(scores, labels) -> dict[float, list[int]]:
    """Slow transcription: score -> [known, anomalous]."""
    counts: dict[float, list[int]] = {}
    for score, label in zip(np.ravel(scores).tolist(), np.ravel(labels), strict=True):
        if label != 255:
            counts.setdefault(score, [0, 0])[label] += 1
    return dict(sorted(counts.items()))


def as_dict(histogram: ScoreHistogram) -> dict[float, list[int]]:
    """The same form."""
    np.testing.assert_array_equal(histogram.lowest, histogram.highest)
    counts = zip(histogram.known.tolist(), histogram.anomalous.tolist(), strict=True)
    return dict(zip(histogram.lowest.tolist(), map(list, counts), strict=True))


def of_pixels(pixels, dtype=np.float32) -> ScoreHistogram:
    return ScoreHistogram.from_scores(
        np.array([score for score, _ in pixels], dtype), np.array([v for _, v in pixels], int)
    )


PIXELS = st.lists(st.tuples(FLOATS, st.sampled_from([0, 1, 255])), max_size=30)


class TestExactBins:
    @settings(max_examples=100, deadline=None)
    @given(PIXELS, st.sampled_from([np.float32, np.float64]))
    def test_equals_slow_counting(self, pixels, dtype):
        scores, labels = [score for score, _ in pixels], [label for _, label in pixels]
        result = of_pixels(pixels, dtype)
        assert as_dict(result) == counted(scores, labels)
        assert result.num_ignored == labels.count(255)
        assert list(as_dict(result)) == sorted(as_dict(result))
        assert result.lowest.dtype == dtype
        assert result.known.dtype == result.anomalous.dtype == np.int64

    @settings(max_examples=50, deadline=None)
    @given(st.lists(PIXELS, min_size=1, max_size=4))
    def test_merged_equals_all_at_once(self, images):
        pixels = [pixel for image in images for pixel in image]
        merged, whole = ScoreHistogram.merged(map(of_pixels, images)), of_pixels(pixels)
        assert as_dict(merged) == as_dict(whole)
        assert merged.num_ignored == whole.num_ignored
        assert (merged.num_known, merged.num_anomalous) == (whole.num_known, whole.num_anomalous)

    def test_float64_scores_keep_their_precision(self):
        scores = np.array([1e6, 1e6 + 1e-6])
        assert ScoreHistogram.from_scores(scores, [0, 1]).lowest.tolist() == scores.tolist()

    def test_file_and_back(self, tmp_path):
        histogram = ScoreHistogram.from_scores(torch.randn(5, 6), torch.randint(0, 2, (5, 6)))
        np.savez(tmp_path / "image.npz", **histogram.to_arrays())
        with np.load(tmp_path / "image.npz", allow_pickle=False) as arrays:
            read = ScoreHistogram.from_arrays(arrays)
        assert as_dict(read) == as_dict(histogram)
        assert read.lowest.dtype == np.float32
        assert read.num_ignored == 0

    def test_metrics_of_its_counts(self):
        scores, labels = noisy(2000)
        counts = ScoreHistogram.from_scores(scores, labels).rank_counts()
        assert metrics_from_counts(counts) == pytest.approx(
            pixel_metrics(scores, labels), abs=1e-12
        )

    def test_merging_none(self):
        with pytest.raises(ValueError, match="at least one histogram, got none"):
            ScoreHistogram.merged([])

    def test_incomplete_arrays(self):
        arrays = ScoreHistogram.from_scores([1.0], [0]).to_arrays()
        with pytest.raises(ValueError, match=r"one shape \(B,\), got .*\(2,\)"):
            ScoreHistogram.from_arrays({**arrays, "known": np.zeros(2, int)})
        arrays.pop("highest")
        with pytest.raises(ValueError, match=r"missing: \['highest'\]"):
            ScoreHistogram.from_arrays(arrays)

    def test_nan_is_refused(self):
        with pytest.raises(ValueError, match="1 NaN"):
            ScoreHistogram.from_scores([np.nan, 1.0], [0, 1])

    @pytest.mark.parametrize(("old", "new"), [("lower", "lowest"), ("upper", "highest")])
    def test_former_names_are_deprecated(self, old, new):
        histogram = ScoreHistogram.from_scores([0.5, 0.25, 2.0], [0, 1, 255])
        with pytest.warns(DeprecationWarning, match=rf"{old}\(\).*`{new}`"):
            found = getattr(histogram, old)()
        np.testing.assert_array_equal(found, getattr(histogram, new))

    def test_bits_are_deprecated(self):
        with pytest.warns(DeprecationWarning, match="bits=20"):
            histogram = ScoreHistogram.from_scores([1.0, 1.00001], [0, 1], bits=20)
        assert as_dict(histogram) == {1.0: [1, 0], 1.00001: [0, 1]}


def noisy(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores and labels, one in five anomalous."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.2).astype(np.uint8)
    return (rng.normal(size=size) + labels).astype(np.float32), labels


@pytest.fixture
def coarse(monkeypatch):
    """Bins are joined from 20 distinct scores on, at a resolution of 8."""
    monkeypatch.setattr(module, "EXACT_BINS", 20)
    monkeypatch.setattr(module, "RESOLUTION", 8)


@pytest.mark.usefixtures("coarse")
class TestBinsJoinedByRank:
    def test_by_hand(self):
        # Ranks 1 to 8 alone, then up to 9.06, 10.27, 11.64, 13.19, 14.95, 16.94, 19.2, 21.7.
        scores = np.arange(21, 0, -1, dtype=np.float32)
        starts, sizes = module.clusters(np.arange(1, 22))
        assert starts.tolist() == [*range(8), 8, 9, 10, 11, 13, 14, 16, 19, 20]
        known = ScoreHistogram.from_scores(scores, np.zeros(21, int))
        assert known.lowest[::-1].tolist() == (21 - starts).tolist()
        assert known.known[::-1].tolist() == sizes.tolist()
        anomalous = ScoreHistogram.from_scores(scores, np.ones(21, int))
        assert anomalous.lowest.tolist() == (1 + starts).tolist()
        assert anomalous.anomalous.tolist() == sizes.tolist()

    @pytest.mark.parametrize("seed", range(5))
    def test_rates_are_never_understated_and_hardly_overstated(self, seed):
        scores, labels = noisy(3000, seed)
        scores = scores.round(2) if seed % 2 else scores
        histogram = ScoreHistogram.from_scores(scores, labels)
        assert histogram.lowest.size < 150
        assert (histogram.num_known, histogram.num_anomalous) == ((labels == 0).sum(), labels.sum())
        assert (histogram.lowest[0], histogram.lowest[-1]) == (scores.min(), scores.max())
        allowed = np.exp(1 / module.RESOLUTION)
        for threshold in np.unique(scores):
            flagged = histogram.lowest >= threshold
            false = (scores[labels == 0] >= threshold).sum()
            assert false <= histogram.known[flagged].sum() <= allowed * false
            missed = (scores[labels == 1] < threshold).sum()
            assert missed <= histogram.anomalous[~flagged].sum() <= allowed * missed

    @pytest.mark.parametrize("size", [300, 3000])
    def test_a_rising_change_of_the_scores_changes_no_count(self, size):
        scores, labels = noisy(size)
        scores = scores.astype(np.float64)
        plain = ScoreHistogram.from_scores(scores, labels)
        for change in (lambda s: s + 1e6, lambda s: 1e-9 * s, lambda s: 1 / (1 + np.exp(-s))):
            changed = ScoreHistogram.from_scores(change(scores), labels)
            np.testing.assert_array_equal(changed.lowest, change(plain.lowest))
            np.testing.assert_array_equal(changed.known, plain.known)
            np.testing.assert_array_equal(changed.anomalous, plain.anomalous)

    def test_merged_images_keep_counts_range_and_rates(self):
        images = [noisy(500, seed) for seed in range(6)]
        merged = ScoreHistogram.merged(ScoreHistogram.from_scores(*image) for image in images)
        scores, labels = (np.concatenate(part) for part in zip(*images, strict=True))
        assert merged.lowest.size < 150
        assert (merged.num_known, merged.num_anomalous) == ((labels == 0).sum(), labels.sum())
        assert (merged.lowest[0], merged.lowest[-1]) == (scores.min(), scores.max())
        allowed = np.exp(2 / module.RESOLUTION)  # joined in each image and once more
        for threshold in merged.lowest:
            false = (scores[labels == 0] >= threshold).sum()
            assert false <= merged.known[merged.lowest >= threshold].sum() <= allowed * false

    @pytest.mark.parametrize("label", [0, 1])
    @pytest.mark.parametrize("digits", [1, 2, 9])
    def test_clusters_of_pixels_are_those_of_distinct_scores(self, label, digits):
        scores = np.sort(np.random.default_rng(0).normal(size=5000).round(digits))
        distinct, counts = np.unique(scores, return_counts=True)
        ranks = np.cumsum(counts) if label else np.cumsum(counts[::-1])[::-1]
        found = module._counted_in_clusters(scores, label).to_arrays()
        for name, values in module._clustered(distinct, ranks, label).to_arrays().items():
            np.testing.assert_array_equal(found[name], values)

    def test_joining_again_changes_nothing(self):
        once = ScoreHistogram.from_scores(*noisy(3000))
        assert as_dict(ScoreHistogram.merged([once])) == as_dict(once)

    @pytest.mark.parametrize("label", [0, 1, 255])
    def test_one_class_or_none(self, label):
        scores, _ = noisy(100)
        histogram = ScoreHistogram.from_scores(scores, np.full(100, label))
        assert (histogram.num_known, histogram.num_anomalous, histogram.num_ignored) == tuple(
            100 * (label == value) for value in (0, 1, 255)
        )
