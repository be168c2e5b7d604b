"""Exact pixel metrics against scikit-learn, against pair counting, and on hand-worked cases."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ood_seg.metrics import PixelMetrics, metrics_from_scores, pixel, pixel_metrics, ranking
from ood_seg.metrics.rank_metrics import metrics_from_counts

NAMES = ("auroc", "ap", "fpr95")


def sklearn_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The three metrics by scikit-learn; the curve is not thinned, thinning may drop its point."""
    scores, labels = scores[labels != 255], labels[labels != 255]
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
        "fpr95": fpr[np.flatnonzero(tpr >= 0.95)[0]],
    }


def random_pixels(kind: str, shape=(3, 40, 50), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores in which anomalies lie higher, and labels with a tenth ignored."""
    rng = np.random.default_rng(seed)
    fraction = {"skewed": 0.002, "half": 0.5}.get(kind, 0.1)
    labels = (rng.random(shape) < fraction).astype(np.uint8)
    labels.reshape(-1)[:2] = [0, 1]
    labels[rng.random(shape) < 0.1] = 255
    scores = rng.normal(size=shape) + (labels == 1)
    if kind == "tied":
        scores = scores.round(1)
    if kind == "constant":
        scores = np.full(shape, -7.25)
    return scores.astype(np.float32), labels


KINDS = ("random", "half", "skewed", "tied", "constant")


class TestAgainstReferences:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_sklearn(self, kind, seed):
        scores, labels = random_pixels(kind, seed=seed)
        expected = sklearn_metrics(scores, labels)
        assert pixel_metrics(scores, labels) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_sklearn_over_many_pieces(self, kind, monkeypatch):
        # 64 pixels to a piece: the image is cut in nearly a hundred, which two threads share.
        monkeypatch.setattr(ranking, "PIECE", 64)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        scores, labels = random_pixels(kind)
        expected = sklearn_metrics(scores, labels)
        assert pixel_metrics(scores, labels) == pytest.approx(expected, abs=1e-9)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(-4, 4), st.sampled_from([0, 1, 255])), min_size=2, max_size=60
        ),
        st.sampled_from([1, 3, 2**18]),
    )
    def test_equals_sklearn_on_anything(self, pixels, piece):
        scores = np.array([score for score, _ in pixels], np.float32)
        labels = np.array([label for _, label in pixels])
        if not {0, 1} <= set(labels.tolist()):
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "PIECE", piece)
            result = pixel_metrics(scores, labels)
        assert result == pytest.approx(sklearn_metrics(scores, labels), abs=1e-9)

    def test_auroc_counts_pairs(self):
        scores, labels = random_pixels("tied", shape=(1, 12, 15))
        known, anomalous = scores[labels == 0], scores[labels == 1]
        higher = (anomalous[:, None] > known[None]).mean()
        equal = (anomalous[:, None] == known[None]).mean()
        auroc = pixel_metrics(scores, labels)["auroc"]
        assert auroc == pytest.approx(higher + equal / 2, abs=1e-12)


class TestByHand:
    def test_distinct_scores(self):
        scores = np.arange(9, 1, -1) / 10
        result = pixel_metrics(scores, [1, 1, 0, 1, 0, 0, 1, 0])
        # AP: precision 1/1, 2/2, 3/4, 4/7 at the four anomalies.
        expected = {"auroc": 0.75, "ap": (1 + 1 + 3 / 4 + 4 / 7) / 4, "fpr95": 0.75}
        assert result == pytest.approx(expected, abs=1e-12)
        assert result["ap"] == pytest.approx(0.830357, abs=1e-6)

    def test_tied_scores(self):
        result = pixel_metrics([0.9, 0.9, 0.5, 0.5, 0.1, 0.1], [1, 0, 1, 0, 0, 1])
        assert result == pytest.approx({"auroc": 0.5, "ap": 0.5, "fpr95": 1.0}, abs=1e-12)

    def test_perfect_and_inverted(self):
        labels = [1, 1, 0, 0]
        assert pixel_metrics([4, 3, 2, 1], labels) == {"auroc": 1, "ap": 1, "fpr95": 0}
        inverted = pixel_metrics([1, 2, 3, 4], labels)
        assert inverted == pytest.approx({"auroc": 0, "ap": (1 / 3 + 2 / 4) / 2, "fpr95": 1})

    def test_constant_scores_give_chance(self):
        result = pixel_metrics(np.zeros(10), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0])
        assert result == {"auroc": 0.5, "ap": 0.2, "fpr95": 1.0}

    @pytest.mark.parametrize(
        ("num_anomalous", "expected"),
        # Anomalies at 1..n, one known pixel between the lowest two and two below all. Of 20, 19
        # suffice: exactly 95 %. Of 19, 18 are 94.7 %, the nearest to 95 but less, so all count.
        [(20, 0.0), (19, 1 / 3), (21, 0.0), (40, 0.0), (39, 0.0), (41, 0.0)],
    )
    def test_fpr95_is_taken_at_the_first_threshold_that_reaches_it(self, num_anomalous, expected):
        anomalous = np.arange(1.0, num_anomalous + 1)
        known = [1.5, 0.5, -0.5]
        assert metrics_from_scores(known, anomalous)["fpr95"] == pytest.approx(expected)

    def test_fpr95_by_hand_where_rules_differ(self):
        # 20 anomalies 1..20; the 19 highest end at 2. Known: 5 above, 2 tied with it, 3 below.
        # First threshold: (5 + 2) / 10; without the ties it would be .5, at full recall 1.
        known = [9.5] * 5 + [2.0] * 2 + [1.5] * 3
        assert metrics_from_scores(known, np.arange(1.0, 21))["fpr95"] == pytest.approx(0.7)


class TestInvariance:
    # Multiples of 1/64 below 8: adding 100 and doubling are exact in float32.
    scores = np.random.default_rng(3).integers(-512, 512, 500).astype(np.float32) / 64
    labels = np.random.default_rng(4).choice([0, 0, 0, 1, 255], 500)

    @pytest.mark.parametrize("change", [lambda s: s + 100, lambda s: s - 100, lambda s: 2 * s])
    def test_shift_and_scale_change_nothing(self, change):
        changed = change(self.scores)
        assert changed.dtype == np.float32
        assert pixel_metrics(changed, self.labels) == pixel_metrics(self.scores, self.labels)

    def test_negated_scores_mirror_auroc(self):
        auroc = pixel_metrics(self.scores, self.labels)["auroc"]
        mirrored = pixel_metrics(-self.scores, self.labels)["auroc"]
        assert auroc != pytest.approx(0.5, abs=1e-3)
        assert mirrored == pytest.approx(1 - auroc, abs=1e-12)

    def test_scores_under_ignored_pixels_are_inert(self):
        changed = np.where(self.labels == 255, 1e6, self.scores)
        assert pixel_metrics(changed, self.labels) == pixel_metrics(self.scores, self.labels)

    @settings(max_examples=50, deadline=None)
    @given(st.randoms(use_true_random=False))
    def test_order_of_pixels_changes_nothing(self, random):
        order = list(range(len(self.scores)))
        random.shuffle(order)
        shuffled = pixel_metrics(self.scores[order], self.labels[order])
        assert shuffled == pixel_metrics(self.scores, self.labels)

    @pytest.mark.parametrize(
        ("score_type", "label_type"),
        [
            (torch.float32, torch.int64),
            (torch.float64, torch.uint8),
            (torch.float16, torch.int32),
            (torch.bfloat16, torch.int64),
        ],
    )
    def test_tensors_of_any_type(self, score_type, label_type):
        # Multiples of 1/2 below 8 are exact even in bfloat16.
        scores = (self.scores * 2).round() / 2
        tensors = torch.tensor(scores).to(score_type), torch.tensor(self.labels).to(label_type)
        assert pixel_metrics(*tensors) == pixel_metrics(scores, self.labels)

    def test_float64_is_not_rounded(self):
        # In float32 both scores would be 1 and the AUROC 1/2.
        assert pixel_metrics(np.array([1 + 1e-12, 1.0]), [1, 0])["auroc"] == 1

    def test_whole_numbers_are_not_rounded(self):
        assert pixel_metrics(np.array([2**24 + 1, 2**24]), [1, 0])["auroc"] == 1

    def test_tensor_with_gradient_and_transposed_view(self):
        scores = torch.tensor(self.scores).view(20, 25)
        labels = torch.tensor(self.labels).view(20, 25)
        result = pixel_metrics(scores.clone().requires_grad_().T, labels.T)
        assert result == pixel_metrics(self.scores, self.labels)


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

    def test_nan_under_an_ignored_pixel_is_an_error_as_well(self):
        with pytest.raises(ValueError, match="1 NaN"):
            pixel_metrics([0.0, 1.0, np.nan], [0, 1, 255])

    @pytest.mark.parametrize("scores", [np.array([1j, 0]), np.array(["a", "b"])])
    def test_type_of_scores(self, scores):
        with pytest.raises(TypeError, match="scores must be real"):
            pixel_metrics(scores, [0, 1])

    def test_type_of_labels(self):
        with pytest.raises(TypeError, match="labels must be whole"):
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
