"""Thresholds for target rates, conformal guarantees, false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from ood_seg.calibration.conformal import conformal_fpr, conformal_tpr
from ood_seg.calibration.operating_points import (
    count_false_alarms,
    operating_point,
    smallest_conformal_set,
)
from ood_seg.metrics import histogram as histogram_module
from ood_seg.metrics.histogram import ScoreHistogram


def histogram(known, anomalous=()):
    scores = np.float32([*known, *anomalous])
    return ScoreHistogram.from_scores(scores, np.arange(scores.size) >= len(known))


def rates(histograms, threshold):
    merged = ScoreHistogram.merged(histograms)
    flagged = merged.lowest >= np.float32(threshold)
    return (
        merged.anomalous[flagged].sum() / merged.anomalous.sum(),
        merged.known[flagged].sum() / merged.known.sum(),
    )


class TestPooled:
    # Descending: 9 anomaly, 8 known, 7 both, 6 known, 5 anomaly, 4 known, 3 known.
    images = (histogram([8, 7, 3], [9, 7]), histogram([6, 4], [5]))

    @pytest.mark.parametrize(
        ("name", "threshold"),
        [
            ("fpr 0%", 9),
            ("fpr 20%", 8),
            ("fpr 59.9%", 7),
            ("fpr 60%", 5),
            ("fpr 100%", 3),
            ("tpr 33%", 9),
            ("tpr 34%", 7),
            ("tpr 66.6%", 7),
            ("tpr 95%", 5),
            ("best f1", 5),  # 6/9 there; at 7 it is 4/7, at 9 it is 2/4
        ],
    )
    def test_by_hand(self, name, threshold):
        point = operating_point(name, self.images)
        assert point.threshold == threshold
        assert point.name == name
        assert (point.tpr, point.fpr) == pytest.approx(rates(self.images, threshold))
        assert point.guarantee is None

    def test_no_threshold_among_the_scores_is_low_enough(self):
        point = operating_point("fpr 1%", [histogram([5, 5, 5], [5, 4])])
        assert point.threshold == np.nextafter(np.float32(5), np.float32(6))
        assert (point.tpr, point.fpr) == (0, 0)

    def test_rates_meet_their_targets_at_the_best_threshold(self):
        rng = np.random.default_rng(0)
        images = [histogram(rng.normal(size=500) - 9, rng.normal(size=20) - 7) for _ in range(5)]
        lower = ScoreHistogram.merged(images).lowest
        point = operating_point("fpr 2%", images)
        assert point.fpr <= 0.02
        assert rates(images, lower[lower < np.float32(point.threshold)].max())[1] > 0.02
        point = operating_point("tpr 80%", images)
        assert point.tpr >= 0.8
        assert rates(images, lower[lower > np.float32(point.threshold)].min())[0] < 0.8

    @pytest.mark.parametrize(
        "name", ["fpr 1%", "fpr 5%", "tpr 95%", "best f1", "conformal fpr 20%", "conformal tpr 80%"]
    )
    def test_joined_bins_promise_no_more_than_there_is(self, name, monkeypatch):
        monkeypatch.setattr(histogram_module, "EXACT_BINS", 20)
        monkeypatch.setattr(histogram_module, "RESOLUTION", 16)
        rng = np.random.default_rng(0)
        known, anomalous = rng.normal(size=(5, 4000)), rng.normal(size=(5, 900)) + 2
        images = [histogram(*image) for image in zip(known, anomalous, strict=True)]
        assert all(part.lowest.size < 300 for part in images)
        point = operating_point(name, images)
        threshold = np.float32(point.threshold)
        fpr, tpr = (np.mean(np.float32(part) >= threshold) for part in (known, anomalous))
        # A bin holds up to 1/16 of what lies beyond it.
        assert fpr <= point.fpr <= 1.07 * fpr
        assert 1 - tpr <= 1 - point.tpr <= 1.07 * (1 - tpr)
        if name in ("fpr 1%", "fpr 5%"):
            target = float(name[4:-1]) / 100
            assert 0.85 * target < point.fpr <= target


class TestConformal:
    # Known scores of four images; one in two, one in four, ... of an image at or above t.
    images = (
        histogram([1, 2]),
        histogram([1, 1, 1, 3]),
        histogram([1, 1, 1, 1]),
        histogram([2, 4]),
    )

    @pytest.mark.parametrize(
        ("target", "threshold"),
        [
            # Sums of the four rates: t=4: 1/2; t=3: 3/4; t=2: 1/2 + 1/4 + 0 + 1 = 7/4; t=1: 4.
            # (sum + 1) / 5: 0.3, 0.35, 0.55, 1; above all scores 0.2.
            (0.2, np.nextafter(np.float32(4), np.float32(5))),
            (0.29, np.nextafter(np.float32(4), np.float32(5))),
            (0.3, 4),
            (0.35, 3),
            (0.54, 3),
            (0.55, 2),
            (0.99, 2),
        ],
    )
    def test_fpr_with_four_images_by_hand(self, target, threshold):
        found, text = conformal_fpr(self.images, target)
        assert found == threshold
        assert f"at most {target:g}" in text
        assert "4 calibration images" in text
        assert "expectation" in text

    @pytest.mark.parametrize(
        ("target", "threshold"),
        # Missed shares: t=1: 0; t=2: 1/2 + 3/4 = 5/4; t=4: 5/4 + 1 = 9/4. (sum + 1) / 4: 1/4,
        # 9/16, 13/16.
        [(0.75, 1), (0.44, 1), (0.4375, 2), (0.19, 2), (0.1875, 4)],
    )
    def test_tpr_with_three_images_by_hand(self, target, threshold):
        images = [
            histogram([5], [1, 4]),
            histogram([5], [1, 1, 1, 4]),
            histogram([5], [2]),
            histogram([0]),  # nothing to be missed
        ]
        found, text = conformal_tpr(images, target)
        assert found == threshold
        assert "3 calibration images" in text

    @pytest.mark.parametrize("kind", ["fpr", "tpr"])
    @pytest.mark.parametrize("count", [9, 25])
    def test_the_guarantee_holds_on_average_over_new_images(self, kind, count):
        rng = np.random.default_rng(7)
        target, losses = 0.1, []

        def image():
            # Images differ a lot, so the threshold of few images is far off for many others.
            known = rng.normal(size=20) + 2 * rng.normal()
            return histogram(known, rng.normal(size=5) + 3 + 2 * rng.normal())

        for _ in range(400):
            images, new = [image() for _ in range(count)], image()
            find = conformal_fpr if kind == "fpr" else conformal_tpr
            threshold = find(images, target if kind == "fpr" else 1 - target)[0]
            flagged = new.lowest >= np.float32(threshold)
            losses.append(
                new.known[flagged].sum() / 20
                if kind == "fpr"
                else 1 - new.anomalous[flagged].sum() / 5
            )
        error = np.std(losses) / np.sqrt(len(losses))
        assert np.mean(losses) <= target + 3 * error
        # Not met by flagging nothing: the bound is at most 2 / (n + 1) below the target.
        assert np.mean(losses) >= target - 2 / (count + 1) - 3 * error

    def test_operating_point_carries_threshold_rates_and_guarantee(self):
        images = [histogram([1, 2], [6, 0])] * 19
        point = operating_point("conformal fpr 5%", images)
        assert point.threshold == conformal_fpr(images, 0.05)[0]
        assert (point.tpr, point.fpr) == pytest.approx(rates(images, point.threshold))
        assert "at most 0.05" in point.guarantee
        assert operating_point("conformal tpr 90%", images).threshold == 0

    def test_rates_count_anomalies_above_all_known_scores(self):
        # An image of anomalies alone takes no part in the guarantee, but in the rates.
        images = [histogram([1, 2])] * 4 + [histogram([], [9])]
        point = operating_point("conformal fpr 20%", images)
        assert point.threshold == np.nextafter(np.float32(2), np.float32(3))
        assert (point.tpr, point.fpr) == (1, 0)

    @pytest.mark.parametrize(
        ("name", "needed"),
        [
            ("conformal fpr 5%", 19),
            ("conformal fpr 1%", 99),
            ("conformal fpr 0.1%", 999),
            ("conformal fpr 30%", 3),
            ("conformal tpr 90%", 9),
            ("conformal tpr 95%", 19),
            ("fpr 1%", 0),
        ],
    )
    def test_number_of_images_that_it_takes(self, name, needed):
        assert smallest_conformal_set(name) == needed
        if needed:
            images = [histogram([1, 2], [2, 3])] * needed
            operating_point(name, images)
            with pytest.raises(ValueError, match=rf"it takes at least {needed};"):
                operating_point(name, images[1:])

    @pytest.mark.parametrize("name", ["conformal fpr 0%", "conformal tpr 100%"])
    def test_certainty_is_refused(self, name):
        with pytest.raises(ValueError, match="both excluded"):
            operating_point(name, [histogram([1], [2])] * 9)


class TestFalseAlarms:
    scores = np.array(
        [
            [9, 9, 0, 0, 0, 9],
            [0, 0, 9, 0, 0, 9],
            [0, 0, 0, 0, 0, 0],
            [9, 0, 9, 9, 9, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        np.float32,
    )

    def count(self, labels, **options):
        return count_false_alarms(self.scores, labels, 9.0, **{"min_area": 1, **options})

    def test_by_hand(self):
        labels = np.zeros((5, 6), np.uint8)
        # A diagonal of three, a pair, a single pixel, a row of three.
        assert self.count(labels) == 4
        assert self.count(labels, min_area=2) == 3
        assert self.count(labels, min_area=3) == 2
        assert count_false_alarms(self.scores, labels, 9.5, min_area=1) == 0

    def test_a_component_that_touches_an_anomaly_is_none(self):
        labels = np.zeros((5, 6), np.uint8)
        labels[3, 4] = 1
        assert self.count(labels) == 3

    def test_ignored_pixels_are_not_flagged(self):
        labels = np.zeros((5, 6), np.uint8)
        labels[3, 3] = 255  # cuts the row of three in two
        labels[3, 0] = 255  # takes the single pixel away
        assert self.count(labels) == 4


@pytest.mark.parametrize("name", ["fpr", "fpr 5", "fpr 101%", "conformal best f1", "tpr -1%", ""])
def test_unknown_names(name):
    with pytest.raises(ValueError, match="expected 'best f1', or 'fpr'"):
        operating_point(name, [histogram([1], [2])])


@pytest.mark.parametrize(("known", "anomalous"), [([1, 2], []), ([], [1, 2])])
def test_an_absent_class_is_refused(known, anomalous):
    with pytest.raises(ValueError, match=f"{len(known)} known and {len(anomalous)} anomalous"):
        operating_point("best f1", [histogram(known, anomalous)])
