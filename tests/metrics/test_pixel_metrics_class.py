"""Collecting and merging, absent classes, bad input, and the pieces that known pixels pass in."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_scenes import random_pixels

from ood_seg.metrics import PixelMetrics, metrics_from_scores, pixel, pixel_metrics, ranking
from ood_seg.metrics.rank_metrics import metrics_from_counts

NAMES = ("auroc", "ap", "fpr95")


class TestPixelMetrics:
    def test_many_updates_in_any_order_equal_one(self):
        scores, labels = random_pixels("tied")
        expected = pixel_metrics(scores, labels)
        for order in ([0, 1, 2], [2, 0, 1]):
            metrics = PixelMetrics()
            for image in order:
                metrics.update(scores[image], labels[image])
            assert metrics.compute() == expected
            assert metrics.compute() == expected, "computing twice must not change the result"

    def test_thousands_of_tiny_updates(self):
        scores, labels = random_pixels("random", shape=(1, 30, 40))
        metrics = PixelMetrics()
        for score, label in zip(scores.reshape(-1, 1), labels.reshape(-1, 1), strict=True):
            metrics.update(score, label)
        assert metrics.compute() == pixel_metrics(scores, labels)

    def test_merge_equals_one(self):
        scores, labels = random_pixels("skewed")
        first, second = PixelMetrics(), PixelMetrics("exact")
        first.update(scores[:1], labels[:1])
        second.update(scores[1:], labels[1:])
        before = second.compute()
        first.merge(second)
        assert first.compute() == pixel_metrics(scores, labels)
        assert second.compute() == before

    def test_counts(self):
        metrics = PixelMetrics()
        metrics.update([1, 2, 3, 4, 5, 6], [0, 1, 255, 0, 0, 255])
        other = PixelMetrics()
        other.update([[1.0, 2.0]], [[1, 255]])
        metrics.merge(other)
        counts = metrics.num_known, metrics.num_anomalous, metrics.num_ignored
        assert counts == (3, 2, 3)

    def test_pooling_is_not_averaging(self):
        metrics = PixelMetrics()
        metrics.update([2, 1], [1, 0])
        metrics.update([20, 10], [1, 0])
        # Alone each image is perfect (AUROC 1); pooled, the known 10 beats the anomalous 2.
        assert metrics.compute()["auroc"] == 0.75

    def test_other_ignore_index(self):
        metrics = PixelMetrics()
        metrics.update([2, 1, 5], [1, 0, 7], ignore_index=7)
        assert metrics.num_ignored == 1
        assert metrics.compute()["auroc"] == 1

    def test_keeps_float32_and_copies(self):
        scores = np.array([2, 1], np.float32)
        metrics = PixelMetrics()
        metrics.update(scores, [1, 0])
        scores[:] = 0
        assert metrics.compute()["auroc"] == 1
        assert pixel.split_scores(scores, [1, 0]).known.dtype == np.float32

    @pytest.mark.parametrize("mode", ["stream", "Exact", None])
    def test_unknown_mode_lists_what_exists(self, mode):
        with pytest.raises(ValueError, match="available: 'exact', 'streaming', 'auto'"):
            PixelMetrics(mode)

    def test_merge_of_something_else(self):
        with pytest.raises(TypeError, match="got dict"):
            PixelMetrics().merge({})


class TestMissingClass:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0, 0, 255], r"no anomalous pixel \(label 1\) in .*2 known, 0 anomalous"),
            ([1, 1, 1], r"no known pixel \(label 0\) in .*0 known, 3 anomalous"),
            ([255, 255, 255], r"no known pixel \(label 0\) and no anomalous pixel \(label 1\)"),
        ],
    )
    def test_nan_and_a_warning_that_names_it(self, labels, message):
        with pytest.warns(UserWarning, match=message):
            result = pixel_metrics([1.0, 2.0, 3.0], labels)
        assert set(result) == set(NAMES)
        assert all(np.isnan(value) for value in result.values())

    @pytest.mark.parametrize("compute", [lambda: pixel_metrics([], []), PixelMetrics().compute])
    def test_no_pixel_at_all(self, compute):
        with pytest.warns(UserWarning, match="no known pixel .* and no anomalous pixel"):
            assert all(np.isnan(value) for value in compute().values())

    def test_no_warning_with_both_classes(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pixel_metrics([1.0, 2.0], [0, 1])["auroc"] == 1


class TestBadInput:
    def test_shapes(self):
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
            pixel_metrics(np.zeros((2, 3)), np.zeros((3, 2), int))

    def test_label_values_are_named_with_counts(self):
        with pytest.raises(ValueError, match=r"2 \(1 pixels\), 254 \(2 pixels\)"):
            pixel_metrics(np.zeros(6), [0, 1, 254, 2, 254, 255])

    def test_ignored_value_of_another_index_is_unknown(self):
        with pytest.raises(ValueError, match=r"255 \(1 pixels\)"):
            pixel_metrics(np.zeros(3), [0, 1, 255], ignore_index=254)

    @pytest.mark.parametrize("ignore_index", [0, 1])
    def test_ignore_index_must_not_be_a_class(self, ignore_index):
        with pytest.raises(ValueError, match="ignore_index"):
            pixel_metrics([1.0, 2.0], [0, 1], ignore_index=ignore_index)

    def test_nan_and_infinite_scores_are_counted(self):
        scores = [np.nan, np.inf, -np.inf, 0, 1]
        with pytest.raises(ValueError, match="1 NaN and 2 infinite values among 5"):
            pixel_metrics(scores, [0, 0, 0, 0, 1])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_each_kind_alone(self, value):
        for call in (
            lambda: pixel_metrics([0.0, value], [0, 1]),
            lambda: PixelMetrics().update([0.0, value], [0, 1]),
            lambda: metrics_from_scores([0.0], [value]),
            lambda: metrics_from_scores([np.zeros(2), np.array([value])], [1.0]),
        ):
            with pytest.raises(ValueError, match="finite"):
                call()

    def test_nan_under_an_ignored_pixel_changes_nothing(self):
        found = pixel_metrics([0.0, 1.0, 0.5, np.nan, np.inf], [0, 1, 0, 255, 255])
        assert found == pixel_metrics([0.0, 1.0, 0.5], [0, 1, 0])

    @pytest.mark.parametrize("scores", [np.array([1j, 0]), np.array(["a", "b"])])
    def test_type_of_scores(self, scores):
        with pytest.raises(TypeError, match="scores must be real"):
            pixel_metrics(scores, [0, 1])

    def test_type_of_labels(self):
        with pytest.raises(TypeError, match="labels must be integers"):
            pixel_metrics([1.0, 2.0], ["0", "1"])

    @pytest.mark.parametrize("piece", [64, 2**18])
    def test_inputs_are_unchanged(self, piece, monkeypatch):
        monkeypatch.setattr(ranking, "PIECE", piece)
        scores, labels = random_pixels("random")
        kept = scores.copy(), labels.copy()
        tensors = torch.from_numpy(scores), torch.from_numpy(labels)
        pixel_metrics(*tensors)
        metrics = PixelMetrics()
        metrics.update(scores, labels)
        metrics.compute()
        known, anomalous = scores[labels == 0], scores[labels == 1]
        kept_parts = known.copy(), anomalous.copy()
        metrics_from_scores([known], anomalous)
        for now, before in zip(
            (scores, labels, known, anomalous), (*kept, *kept_parts), strict=True
        ):
            np.testing.assert_array_equal(now, before)


class TestPieces:
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 15))
    def test_regroup_keeps_every_item_in_order(self, sizes, length):
        items = np.arange(sum(sizes))
        arrays = np.split(items, np.cumsum(sizes)[:-1]) if sizes else []
        pieces = list(ranking._regroup(arrays, length))
        joined = np.concatenate(pieces) if pieces else items
        np.testing.assert_array_equal(joined, items)
        assert all(piece.size <= 1.5 * length for piece in pieces)
        assert all(2 * piece.size >= length for piece in pieces[:-1])

    def test_known_pixels_are_never_copied_as_a_whole(self, monkeypatch):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        scores = np.random.default_rng(0).random(2**22, dtype=np.float32)
        labels = np.zeros(2**22, np.uint8)
        labels[::1000] = 1
        tracemalloc.start()
        pixel_metrics(scores, labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Three pieces in flight, each selected and sorted, take 6 MiB, the masks of the label
        # check 4 MiB before that. A copy of the known scores would be 16 MiB.
        assert peak < 10 * 2**20 < scores.nbytes

    def test_large_counts_do_not_overflow(self):
        # 10^10 known times 10^10 anomalous pixels: the product passes 2^63.
        many = 10**10
        counts = ranking.RankCounts(
            np.array([many // 2, many // 2]),
            np.array([many // 4, many]),
            np.zeros(2, int),
            many,
            np.array([0, 1]),
        )
        result = metrics_from_counts(counts)
        # Below the lower half of the anomalies lies a quarter of the known, below the other all.
        expected = {"auroc": 0.625, "ap": (1 + 1 / 1.75) / 2, "fpr95": 0.75}
        assert result == pytest.approx(expected, abs=1e-12)
