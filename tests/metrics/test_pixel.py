"""Exact pixel metrics against scikit-learn, against pair counting, and on hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_scenes import KINDS, random_pixels, sklearn_metrics
from sklearn.metrics import precision_recall_curve, roc_curve

from ood_seg.metrics import PixelMetrics, metrics_from_scores, pixel_metrics, ranking


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

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("shift", [-1e3, 1e3])
    def test_equals_sklearn_shifted_and_in_many_merged_parts(self, kind, shift):
        scores, labels = random_pixels(kind)
        scores = scores + np.float32(shift)
        assert scores.dtype == np.float32
        expected = sklearn_metrics(scores, labels)
        total = PixelMetrics()
        for image in (2, 0, 1):
            part = PixelMetrics()
            for rows in (slice(30, None), slice(0, 7), slice(7, 30)):
                part.update(scores[image, rows], labels[image, rows])
            total.merge(part)
        assert total.compute() == pytest.approx(expected, abs=1e-9)

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

    @pytest.mark.parametrize("streamed", [False, True])
    def test_separated_scores_give_exactly_one(self, streamed):
        # 97 841 weights of 1 / 97 841 add up to more than 1.
        anomalous = np.linspace(0, 1, 97_841, dtype=np.float32)
        metrics = PixelMetrics("streaming" if streamed else "exact")
        metrics.update(np.append(anomalous, -1), np.append(np.ones(97_841, int), 0))
        found = metrics.compute(best_f1=True)
        assert [found[name] for name in ("auroc", "ap", "best_f1")] == [1, 1, 1]

    @pytest.mark.parametrize("seed", range(5))
    def test_no_metric_exceeds_one(self, seed):
        rng = np.random.default_rng(seed)
        number = int(rng.integers(1000, 50_000))
        labels = (rng.random(number) < rng.random()).astype(int)
        found = pixel_metrics(rng.normal(size=number) + 40 * labels, labels)
        assert max(found.values()) <= 1

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

    def test_integers_are_not_rounded(self):
        assert pixel_metrics(np.array([2**24 + 1, 2**24]), [1, 0])["auroc"] == 1

    def test_tensor_with_gradient_and_transposed_view(self):
        scores = torch.tensor(self.scores).view(20, 25)
        labels = torch.tensor(self.labels).view(20, 25)
        result = pixel_metrics(scores.clone().requires_grad_().T, labels.T)
        assert result == pixel_metrics(self.scores, self.labels)


class TestMoreMetrics:
    def test_fpr_at_any_tpr_equals_sklearn(self):
        scores, labels = random_pixels("tied")
        tprs = (0.5, 0.9, 0.95, 0.995, 1.0)
        result = pixel_metrics(scores, labels, tprs=tprs)
        assert list(result) == ["auroc", "ap", "fpr50", "fpr90", "fpr95", "fpr99.5", "fpr100"]
        valid = labels != 255
        fpr, tpr, _ = roc_curve(labels[valid], scores[valid], drop_intermediate=False)
        expected = [fpr[np.flatnonzero(tpr >= rate)[0]] for rate in tprs]
        assert list(result.values())[2:] == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_best_f1_equals_sklearn(self, kind):
        scores, labels = random_pixels(kind)
        result = pixel_metrics(scores, labels, best_f1=True)
        valid = labels != 255
        precision, recall, thresholds = precision_recall_curve(labels[valid], scores[valid])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        assert result["best_f1"] == pytest.approx(f1.max(), abs=1e-12)
        assert result["best_f1_threshold"] == thresholds[np.isclose(f1[:-1], f1.max())].max()

    def test_best_f1_by_hand(self):
        # At 7: two of two anomalies and one false alarm, 4/5. At 9: one of two, 2/3.
        result = pixel_metrics([9, 8, 7, 6], [1, 0, 1, 0], best_f1=True)
        assert (result["best_f1"], result["best_f1_threshold"]) == (0.8, 7)

    @pytest.mark.parametrize("tpr", [0, 1.5, 95, -0.1])
    def test_rate_out_of_range(self, tpr):
        with pytest.raises(ValueError, match=f"fractions of 1 .* got {tpr}"):
            pixel_metrics([1, 2], [0, 1], tprs=(0.95, tpr))

    def test_inverted_scores_prompt_a_hint_and_stay_as_they_are(self):
        scores, labels = random_pixels("random")
        for call in (
            lambda: pixel_metrics(-4 * scores - 6 * (labels == 1), labels),
            lambda: metrics_from_scores([5.0, 4.0], [1.0, 2.0]),
        ):
            with pytest.warns(UserWarning, match=r"far below 0.5.*negate") as seen:
                assert call()["auroc"] < 0.1
            assert seen[0].filename == __file__
