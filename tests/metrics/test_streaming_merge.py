"""Streaming counts do not depend on order, division, merging or processes; change of mode."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch.distributed
from hypothesis import given, settings
from hypothesis import strategies as st
from process_group import process_group, run_on_ranks
from streaming_scenes import (
    ASKED,
    PIXELS,
    assert_same,
    assert_same_state,
    has_both,
    scene,
    streamed,
)

from ood_seg.metrics import PixelMetrics, streaming
from ood_seg.metrics.pixel import split_scores
from ood_seg.metrics.streaming import ScoreTable


class TestSameWhateverTheDivision:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(PIXELS, min_size=1, max_size=4), st.randoms(use_true_random=False))
    def test_updates_order_and_merged_parts(self, images, random):
        arrays = [
            (np.array(image).T[0].astype(np.float32), np.array(image).T[1]) for image in images
        ]
        scores, labels = (np.concatenate(parts) for parts in zip(*arrays, strict=True))
        if not has_both(labels):
            return
        whole = streamed((scores, labels))
        shuffled = random.sample(arrays, len(arrays))
        assert_same(whole, streamed(*shuffled))
        merged = streamed()
        for image in shuffled:
            part = streamed(image)
            before = part.compute() if has_both(image[1]) else None
            merged.merge(part)
            assert before is None or part.compute() == before
        assert_same(whole, merged)

    @pytest.mark.parametrize("kind", ["energy", "saturated", "8 bit", "heavy tails"])
    def test_parts_of_other_resolution(self, kind, monkeypatch):
        monkeypatch.setattr(streaming, "MOST_BINS", 2**12)
        scores, labels = scene(kind, 60_000)
        small = scores[:500], labels[:500]
        large = scores[500:], labels[500:]
        whole = streamed((scores, labels))
        for first, second in ((small, large), (large, small)):
            merged = streamed(first)
            other = streamed(second)
            assert merged._table.bits != other._table.bits or kind == "8 bit"
            merged.merge(other)
            assert_same(merged, whole)

    def test_state_and_pickle(self):
        metrics = streamed(scene("energy", 20_000))
        table = ScoreTable.from_state(metrics._table.state())
        assert_same_state(table, metrics._table)
        assert_same(pickle.loads(pickle.dumps(metrics)), metrics)

    def test_itself(self):
        metrics = streamed(scene("energy", 20_000))
        counts = metrics.num_known, metrics.num_anomalous
        metrics.merge(metrics)
        assert (metrics.num_known, metrics.num_anomalous) == (2 * counts[0], 2 * counts[1])


class TestModes:
    def test_auto_changes_over_when_the_budget_is_used_up(self):
        scores, labels = scene("energy", 30_000)
        metrics = PixelMetrics("auto", memory=2 * scores[labels < 255].nbytes)
        metrics.update(scores, labels)
        assert metrics.mode_used == "exact"
        metrics.update(scores, labels)
        assert metrics.mode_used == "exact"
        metrics.update(scores, labels)
        assert metrics.mode_used == "streaming"
        assert_same(metrics, streamed(*[(scores, labels)] * 3))

    def test_mode_used(self):
        assert PixelMetrics().mode_used == "exact"
        assert PixelMetrics("streaming").mode_used == "streaming"

    def test_exact_merges_into_streaming_and_auto(self):
        image, other = scene("energy", 20_000), scene("energy", 20_000, 1)
        exact, auto = PixelMetrics(), PixelMetrics("auto")
        exact.update(*image)
        auto.update(*image)
        into_streaming = streamed(other)
        into_streaming.merge(exact)
        auto.merge(streamed(other))
        assert auto.mode_used == "streaming"
        assert_same(into_streaming, auto)
        assert exact.mode_used == "exact"

    def test_exact_does_not_take_in_counts(self):
        with pytest.raises(ValueError, match="merge into one of mode 'streaming' or 'auto'"):
            PixelMetrics().merge(PixelMetrics("streaming"))

    def test_exact_bounds_are_its_values(self):
        metrics = PixelMetrics()
        metrics.update(*scene("energy", 20_000))
        result = metrics.compute(**ASKED)
        for name, (low, high) in metrics.bounds(**ASKED).items():
            assert low <= result[name] <= high
            assert high - low < 1e-11

    @pytest.mark.parametrize("mode", ["exact", "streaming"])
    def test_nothing_or_one_class(self, mode):
        metrics = PixelMetrics(mode)
        for labels in ([255, 255], [0, 0]):
            metrics.update([1.0, 2.0], labels)
            with pytest.warns(UserWarning, match="no anomalous pixel"):
                assert all(np.isnan(value) for value in metrics.compute(**ASKED).values())
            assert all(np.isnan(bound).all() for bound in metrics.bounds(**ASKED).values())


def run_rank(rank: int, folder: str) -> None:
    """One process: its share of three images, reduced; saves what it then holds."""
    with process_group(rank, 2, folder):
        for kind in ("energy", "saturated", "8 bit"):
            metrics = streamed(*[scene(kind, 40_000, seed) for seed in range(rank, 3, 2)])
            metrics.all_reduce()
            torch.save(pickle.dumps(metrics), f"{folder}/{kind}{rank}.pt")
        auto = PixelMetrics("auto")
        if rank:
            auto.update(*scene("energy", 40_000))
        auto.all_reduce()
        assert auto.num_known == split_scores(*scene("energy", 40_000)).known.size
        with pytest.raises(ValueError, match="use mode 'streaming', or gather"):
            PixelMetrics().all_reduce()


def test_two_processes_hold_the_counts_of_one(tmp_path):
    run_on_ranks(run_rank, str(tmp_path))
    for kind in ("energy", "saturated", "8 bit"):
        expected = streamed(*[scene(kind, 40_000, seed) for seed in range(3)])
        for rank in range(2):
            file = tmp_path / f"{kind}{rank}.pt"
            assert_same(pickle.loads(torch.load(file, weights_only=False)), expected)
