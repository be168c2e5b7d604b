"""Score histograms and the keys they rest on, against direct comparison and counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_seg.metrics import histogram as module
from ood_seg.metrics import pixel_metrics
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.keys import bin_edges, key_scores, score_keys
from ood_seg.metrics.rank_metrics import bounds_from_counts, metrics_from_counts

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

    @given(FLOATS, st.integers(9, 32))
    def test_a_score_lies_within_the_edges_of_its_bin_only(self, value, bits):
        score = np.array([value], np.float32)
        number = (score_keys(score) >> np.uint32(32 - bits)).astype(np.int64)
        lower, upper = bin_edges(number, bits)
        assert lower <= score <= upper
        below, above = np.nextafter(lower, -np.inf), np.nextafter(upper, np.inf)
        for neighbour in (below, above):
            if np.isfinite(neighbour):
                assert score_keys(neighbour) >> np.uint32(32 - bits) != number


def counted(scores, labels, bits) -> dict[int, list[int]]:
    """Slow transcription: bin number -> [known, anomalous]."""
    counts: dict[int, list[int]] = {}
    for score, label in zip(np.ravel(scores), np.ravel(labels), strict=True):
        if label != 255:
            key = int(np.float32(score + 0.0).view(np.uint32))
            key = key ^ 0xFFFFFFFF if key >> 31 else key | 1 << 31
            counts.setdefault(key >> (32 - bits), [0, 0])[label] += 1
    return dict(sorted(counts.items()))


def as_dict(histogram: ScoreHistogram) -> dict[int, list[int]]:
    """The same form."""
    counts = zip(histogram.known.tolist(), histogram.anomalous.tolist(), strict=True)
    return dict(zip(histogram.bins.tolist(), map(list, counts), strict=True))


PIXELS = st.lists(st.tuples(FLOATS, st.sampled_from([0, 1, 255])), max_size=30)


class TestScoreHistogram:
    @settings(max_examples=100, deadline=None)
    @given(PIXELS, st.integers(9, 32), st.sampled_from([0, 2**22]))
    def test_equals_slow_counting(self, pixels, bits, table):
        scores = np.array([score for score, _ in pixels], np.float32)
        labels = np.array([label for _, label in pixels], int)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_LARGEST_TABLE", table)
            result = ScoreHistogram.from_scores(scores, labels, bits=bits)
        assert as_dict(result) == counted(scores, labels, bits)
        assert result.num_ignored == (labels == 255).sum()
        assert list(as_dict(result)) == sorted(as_dict(result))
        assert result.bins.dtype == result.known.dtype == result.anomalous.dtype == np.int64

    @settings(max_examples=50, deadline=None)
    @given(st.lists(PIXELS, min_size=1, max_size=4))
    def test_merged_equals_all_at_once(self, images):
        parts = [
            ScoreHistogram.from_scores([s for s, _ in image], [v for _, v in image], bits=16)
            if image
            else ScoreHistogram.from_scores([], [], bits=16)
            for image in images
        ]
        pixels = [pixel for image in images for pixel in image]
        whole = ScoreHistogram.from_scores([s for s, _ in pixels], [v for _, v in pixels], bits=16)
        merged = ScoreHistogram.merged(parts)
        assert as_dict(merged) == as_dict(whole)
        assert merged.num_ignored == whole.num_ignored
        assert (merged.num_known, merged.num_anomalous) == (whole.num_known, whole.num_anomalous)

    def test_edges_of_the_bins(self):
        histogram = ScoreHistogram.from_scores([1.0, -2.0], [0, 1], bits=9)
        # Nine bits are sign and exponent: an octave each.
        assert histogram.lower().tolist() == [-np.nextafter(np.float32(4), 0), 1]
        assert histogram.upper().tolist() == [-2, np.nextafter(np.float32(2), 0)]

    def test_file_and_back(self, tmp_path):
        histogram = ScoreHistogram.from_scores(torch.randn(5, 6), torch.randint(0, 2, (5, 6)))
        np.savez(tmp_path / "image.npz", **histogram.to_arrays())
        with np.load(tmp_path / "image.npz", allow_pickle=False) as arrays:
            read = ScoreHistogram.from_arrays(arrays)
        assert as_dict(read) == as_dict(histogram)
        assert (read.bits, read.num_ignored) == (20, 0)

    @pytest.mark.parametrize("bits", [9, 20, 32])
    def test_metrics_of_its_counts(self, bits):
        labels = torch.randint(0, 2, (40, 50), generator=torch.Generator().manual_seed(0))
        scores = torch.randn(40, 50, generator=torch.Generator().manual_seed(1)) + labels
        exact = pixel_metrics(scores, labels)
        counts = ScoreHistogram.from_scores(scores, labels, bits=bits).rank_counts()
        for name, (low, high) in bounds_from_counts(counts).items():
            assert low <= exact[name] <= high
        tolerance = {9: 0.1, 20: 1e-3, 32: 1e-12}[bits]
        assert metrics_from_counts(counts) == pytest.approx(exact, abs=tolerance)

    @pytest.mark.parametrize("bits", [8, 33])
    def test_bits_out_of_range(self, bits):
        with pytest.raises(ValueError, match=f"9 to 32, got {bits}"):
            ScoreHistogram.from_scores([1.0], [0], bits=bits)

    def test_merging_unlike_or_none(self):
        parts = [ScoreHistogram.from_scores([1.0], [0], bits=bits) for bits in (20, 21)]
        with pytest.raises(ValueError, match=r"bits \[20, 21\]"):
            ScoreHistogram.merged(parts)
        with pytest.raises(ValueError, match="0 histograms"):
            ScoreHistogram.merged([])

    def test_incomplete_arrays(self):
        arrays = ScoreHistogram.from_scores([1.0], [0]).to_arrays()
        with pytest.raises(ValueError, match="known and anomalous must have one shape"):
            ScoreHistogram.from_arrays({**arrays, "known": np.zeros(2, int)})
        arrays.pop("bits")
        with pytest.raises(ValueError, match=r"missing: \['bits'\]"):
            ScoreHistogram.from_arrays(arrays)

    def test_nan_is_refused(self):
        with pytest.raises(ValueError, match="1 NaN"):
            ScoreHistogram.from_scores([np.nan, 1.0], [0, 1])
