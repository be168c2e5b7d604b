"""Streaming counts: their metrics and bounds against the exact metrics; memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming_scenes import ASKED, KINDS, PIXELS, has_both, scene, streamed

from ood_seg.metrics import PixelMetrics, streaming
from ood_seg.metrics.pixel import split_scores
from ood_seg.metrics.streaming import ScoreTable


def both(*images, **options) -> tuple[dict, dict, dict]:
    """Exact metrics, streamed metrics and their bounds."""
    exact, counted = PixelMetrics(), streamed(*images)
    for scores, labels in images:
        exact.update(scores, labels)
    return exact.compute(**options), counted.compute(**options), counted.bounds(**options)


@pytest.fixture(scope="class")
def coarse():
    """Tables of few bins, which are wide then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "MOST_BINS", 3)
        yield


def check_bounds(images) -> None:
    """Bounds hold whatever the images; those without one of the classes are passed over."""
    images = [np.array(image).T for image in images]
    if not has_both(np.concatenate([labels for _, labels in images])):
        return
    exact, value, bounds = both(
        *((scores.astype(np.float32), labels) for scores, labels in images), **ASKED
    )
    for name, (low, high) in bounds.items():
        assert 0 <= low <= exact[name] <= high <= 1, name
        assert low <= value[name] <= high, name


class TestBounds:
    @pytest.mark.parametrize("kind", KINDS)
    def test_contain_the_exact_value_and_are_tight(self, kind):
        exact, value, bounds = both(scene(kind), **ASKED)
        assert list(bounds) == [name for name in exact if name != "best_f1_threshold"]
        for name, (low, high) in bounds.items():
            assert low <= exact[name] <= high
            assert low <= value[name] <= high
        assert bounds["ap"][1] - bounds["ap"][0] < 3e-4
        assert value["ap"] == pytest.approx(exact["ap"], abs=1e-5)
        assert value["auroc"] == pytest.approx(exact["auroc"], abs=1e-6)
        assert value["fpr95"] == pytest.approx(exact["fpr95"], abs=1e-4)

    @pytest.mark.parametrize("kind", ["8 bit", "half", "constant"])
    def test_quantised_scores_are_exact(self, kind):
        exact, value, bounds = both(scene(kind), **ASKED)
        assert value == pytest.approx(exact, abs=1e-12)
        assert all(high - low < 1e-11 for low, high in bounds.values())

    @settings(max_examples=120, deadline=None)
    @given(st.lists(PIXELS, min_size=1, max_size=3))
    def test_contain_the_exact_value_of_anything(self, images):
        check_bounds(images)


@pytest.mark.usefixtures("coarse")
class TestWideBins:
    @settings(max_examples=120, deadline=None)
    @given(st.lists(PIXELS, min_size=1, max_size=3))
    def test_contain_the_exact_value(self, images):
        check_bounds(images)

    def test_best_f1_is_reached_at_its_threshold(self):
        rng = np.random.default_rng(0)
        labels = (rng.random(500) < 0.3).astype(int)
        scores = (rng.standard_normal(500) + labels).astype(np.float32)
        result = streamed((scores, labels)).compute(best_f1=True)
        called = scores >= result["best_f1_threshold"]
        hits = (called & (labels == 1)).sum()
        assert result["best_f1"] == pytest.approx(2 * hits / (called.sum() + labels.sum()))

    def test_worst_and_best_order_by_hand(self, monkeypatch):
        monkeypatch.setattr(streaming, "MOST_BINS", 1)
        # All in one bin: three anomalies, one known pixel.
        low, high = streamed((np.array([5.0, 5.001, 5.002, 5.003]), [1, 0, 1, 1])).bounds()["ap"]
        # Best: the anomalies come first. Worst: 1/2, 2/3, 3/4, which the bound may undercut.
        assert high == pytest.approx(1)
        assert (1 / 2 + 2 / 3 + 3 / 4) / 3 - 0.02 < low < (1 / 2 + 2 / 3 + 3 / 4) / 3


class TestScoreTable:
    @settings(max_examples=100, deadline=None)
    @given(PIXELS)
    def test_no_score_is_dropped(self, pixels):
        split = split_scores(
            np.array([score for score, _ in pixels], np.float32), [label for _, label in pixels]
        )
        table = ScoreTable()
        table.add(split.known, split.anomalous)
        assert (table.num_known, table.num_anomalous) == (split.known.size, split.anomalous.size)
        counts = table.rank_counts()
        groups = np.unique(split.anomalous)
        # So few scores have a bin each.
        assert table.bits == 32
        np.testing.assert_array_equal(counts.scores, groups)
        below = [(split.known < score).sum() for score in groups]
        np.testing.assert_array_equal(counts.known_below, below)

    @pytest.mark.parametrize("piece", [2**20, 1000])
    def test_scores_of_the_whole_range_take_the_bins_that_there_are(self, monkeypatch, piece):
        monkeypatch.setattr(streaming, "PIECE", piece)
        # 2**16 keys evenly apart without the infinite and NaN ones: those end in 0x7f80 at least.
        keys = (np.arange(2**16, dtype=np.uint32) << np.uint32(16)).astype(np.uint32)
        scores = streaming.key_scores(keys)
        scores = scores[np.isfinite(scores)]
        table = ScoreTable()
        table.add(scores, scores[::2])
        assert (table.bits, table.histogram.lowest.size) == (32, scores.size)
        monkeypatch.setattr(streaming, "MOST_BINS", 2**14)
        coarse = ScoreTable()
        coarse.add(scores, scores[::2])
        assert coarse.bits == 14
        for one in (table, coarse):
            assert (one.num_known, one.num_anomalous) == (scores.size, scores[::2].size)

    def test_a_wide_bin_of_one_score_is_exact(self, monkeypatch):
        monkeypatch.setattr(streaming, "MOST_BINS", 3)
        metrics = streamed((np.array([1, 1, 1, 5, 5.001, 700, 700]), [0, 0, 1, 0, 0, 1, 0]))
        assert metrics._table.bits < 32
        # Ranks: the anomaly at 1 ties with two known ones below three, that at 700 with the top.
        value = ((1 + 0) / 5 + (4 + 0.5) / 5) / 2
        assert metrics.compute()["auroc"] == pytest.approx(value)
        low, high = metrics.bounds()["auroc"]
        assert high - low < 1e-11

    def test_memory(self):
        images = [scene("wide", 2**20, seed) for seed in range(3)]
        tracemalloc.start()
        metrics = streamed(*images)
        metrics.compute()
        metrics.bounds()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 32 * 2**20

    def test_float64_is_rounded_beyond_float32_kept_apart(self):
        assert streamed((np.array([1e300, -1e300]), [1, 0])).compute()["auroc"] == 1
        assert streamed((np.array([1 + 1e-12, 1.0]), [1, 0])).compute()["auroc"] == 0.5
