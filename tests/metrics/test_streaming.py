"""Streaming counts: bounds against the exact metrics, and independence of order and division."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import torch.distributed
import torch.multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_seg.metrics import PixelMetrics, streaming
from ood_seg.metrics.pixel import split_scores
from ood_seg.metrics.streaming import ScoreTable

LARGEST = float(np.finfo(np.float32).max)
ASKED = {"tprs": (0.5, 0.95, 1.0), "best_f1": True}


def scene(kind: str, size: int = 200_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores of a kind, and labels with 0.25 % anomalous and some ignored pixels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.0025).astype(np.uint8)
    labels[rng.random(size) < 0.05] = 255
    energy = 1.5 * rng.standard_normal(size) - 8 + 3 * (labels == 1)
    scores = {
        "energy": energy,
        "shifted": energy + 1e3,
        "probability": 1 / (1 + np.exp(-energy)),
        "wide": np.exp(6 * energy),
        "heavy tails": rng.standard_cauchy(size) + 2 * (labels == 1),
        "8 bit": np.clip(10 * energy + 200, 0, 255).round() / 255,
        "half": energy.astype(np.float16),
        "saturated": np.maximum(energy, -8) + 8,
        "constant": np.full(size, -7.25),
    }[kind]
    return scores.astype(np.float32), labels


KINDS = (
    "energy",
    "shifted",
    "probability",
    "wide",
    "heavy tails",
    "8 bit",
    "half",
    "saturated",
    "constant",
)


def both(*images, **options) -> tuple[dict, dict, dict]:
    """Exact metrics, streamed metrics and their bounds."""
    exact, streamed = PixelMetrics(), PixelMetrics("streaming")
    for scores, labels in images:
        exact.update(scores, labels)
        streamed.update(scores, labels)
    return exact.compute(**options), streamed.compute(**options), streamed.bounds(**options)


def by_page(table: ScoreTable) -> list[np.ndarray]:
    """Pages, counts and marks with the pages in ascending order."""
    state = table.state()
    order = np.argsort(state["pages"])
    return [state["pages"][order]] + [
        array.reshape(*array.shape[:-1], order.size, -1)[..., order, :]
        for array in (state["counts"], state["only"])
    ]


def assert_same(first: PixelMetrics, second: PixelMetrics) -> None:
    """Both hold the same counts and give the same numbers."""
    assert first._table.bits == second._table.bits
    for one, other in zip(by_page(first._table), by_page(second._table), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.compute(**ASKED) == second.compute(**ASKED)
    assert first.bounds(**ASKED) == second.bounds(**ASKED)
    assert first.num_ignored == second.num_ignored


def streamed(*images) -> PixelMetrics:
    """The images streamed one by one."""
    metrics = PixelMetrics("streaming")
    for scores, labels in images:
        metrics.update(scores, labels)
    return metrics


def values(*, ties: bool) -> st.SearchStrategy:
    """Finite float32: any (denormal, huge, signed zeros), or few and near each other."""
    if ties:
        near = np.float32(1) + np.arange(-3, 4, dtype=np.float32) * np.float32(2**-22)
        return st.sampled_from([-LARGEST, -1e-45, -0.0, 0.0, 1e-45, LARGEST, *near.tolist()])
    return st.floats(width=32, allow_nan=False, allow_infinity=False)


PIXELS = st.booleans().flatmap(
    lambda ties: st.lists(
        st.tuples(values(ties=ties), st.sampled_from([0, 1, 255])), min_size=2, max_size=60
    )
)


def has_both(labels) -> bool:
    return {0, 1} <= set(np.asarray(labels).tolist())


@pytest.fixture(scope="class")
def coarse():
    """Tables in which every page has its place, so that bins are as wide as they ever get."""
    create = ScoreTable.__init__

    def create_full(self):
        create(self)
        self._make_room(np.arange(2**16))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoreTable, "__init__", create_full)
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

    def test_worst_and_best_order_by_hand(self):
        # All in one bin: three anomalies, one known pixel.
        low, high = streamed((np.array([5.0, 5.001, 5.002, 5.003]), [1, 0, 1, 1])).bounds()["ap"]
        # Best: the anomalies come first. Worst: 1/2, 2/3, 3/4, which the bound may undercut.
        assert high == pytest.approx(1)
        assert (1 / 2 + 2 / 3 + 3 / 4) / 3 - 0.02 < low < (1 / 2 + 2 / 3 + 3 / 4) / 3


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
    def test_parts_of_other_resolution(self, kind):
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
        for one, other in zip(by_page(table), by_page(metrics._table), strict=True):
            np.testing.assert_array_equal(one, other)
        assert_same(pickle.loads(pickle.dumps(metrics)), metrics)

    def test_itself(self):
        metrics = streamed(scene("energy", 20_000))
        counts = metrics.num_known, metrics.num_anomalous
        metrics.merge(metrics)
        assert (metrics.num_known, metrics.num_anomalous) == (2 * counts[0], 2 * counts[1])


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
        # Few scores keep full resolution unless they lie in more than four pages.
        if table.bits == 32:
            np.testing.assert_array_equal(counts.scores, groups)
            below = [(split.known < score).sum() for score in groups]
            np.testing.assert_array_equal(counts.known_below, below)

    def test_every_page_fits(self):
        keys = (np.arange(2**16, dtype=np.uint32) << np.uint32(16)).astype(np.uint32)
        scores = streaming.key_scores(keys)
        scores = scores[np.isfinite(scores)]
        table = ScoreTable()
        table.add(scores, scores[::2])
        assert table.bits == 18
        assert (table.num_known, table.num_anomalous) == (scores.size, scores[::2].size)

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
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    try:
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
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_hold_the_counts_of_one(tmp_path):
    torch.multiprocessing.spawn(run_rank, (str(tmp_path),), nprocs=2)
    for kind in ("energy", "saturated", "8 bit"):
        expected = streamed(*[scene(kind, 40_000, seed) for seed in range(3)])
        for rank in range(2):
            file = tmp_path / f"{kind}{rank}.pt"
            assert_same(pickle.loads(torch.load(file, weights_only=False)), expected)
