"""Image-level protocols and metrics against scikit-learn and by hand."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

pytest.importorskip("mmseg")
from ood_seg.classification.metrics import ImageAccuracyMetric, ImageAnomalyMetric, KnownScores
from ood_seg.classification.protocols import get_image_protocol
from ood_seg.labels import OUTLIER

RANDOM = np.random.default_rng(0)
KNOWN = RANDOM.normal(0, 1, 500).astype(np.float32)
OUTLIERS = RANDOM.normal(1, 1.5, 200).astype(np.float32)
TRUTH = np.repeat([0, 1], [500, 200])
SCORES = np.concatenate([KNOWN, OUTLIERS])


def fpr_at_95(truth, scores):
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    return rates[np.argmax(recalls >= 0.95)]


def test_pooled_metrics_equal_those_of_scikit_learn():
    found = get_image_protocol("pooled").compute(KNOWN, OUTLIERS)
    rates, recalls, _ = roc_curve(TRUTH, SCORES, drop_intermediate=False)
    assert found == pytest.approx(
        {
            "auroc": roc_auc_score(TRUTH, SCORES),
            "ap": average_precision_score(TRUTH, SCORES),
            "fpr95": fpr_at_95(TRUTH, SCORES),
            "ap_known": average_precision_score(1 - TRUTH, -SCORES),
            "fpr95_known": fpr_at_95(1 - TRUTH, -SCORES),
            "detection_error": ((1 - recalls + rates) / 2).min(),
        }
    )


def test_scood_names_its_metrics():
    found = get_image_protocol("sc-ood").compute(KNOWN, OUTLIERS)
    pooled = get_image_protocol("pooled").compute(KNOWN, OUTLIERS)
    assert list(found) == ["auroc", "ap", "ap_known", "fpr95_known"]
    assert all(found[name] == pooled[name] for name in found)


@pytest.mark.filterwarnings("ignore:AUROC is 0.000")
def test_detection_error_of_useless_and_perfect_scores():
    pooled = get_image_protocol("pooled").compute
    assert pooled(KNOWN, KNOWN.min() - OUTLIERS[:50] ** 2 - 1)["detection_error"] == 0.5
    assert pooled(KNOWN, KNOWN.max() + 1 + OUTLIERS[:50] ** 2)["detection_error"] == 0


def test_energy_ood_draws_one_outlier_for_five_known_images():
    # All outliers score alike, so that every draw is the same: 100 of 200.
    outliers = np.full(200, 0.5, np.float32)
    found = get_image_protocol("energy_ood").compute(KNOWN, outliers)
    truth, scores = np.repeat([1, 0], [500, 100]), -np.concatenate([KNOWN, outliers[:100]])
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, scores))
    assert found["ap_known"] == pytest.approx(average_precision_score(truth, scores))
    assert found["fpr95_known"] == 1
    few = get_image_protocol("energy_ood").compute(KNOWN, OUTLIERS[:30])
    truth, scores = np.repeat([1, 0], [500, 30]), -np.concatenate([KNOWN, OUTLIERS[:30]])
    assert few["auroc"] == pytest.approx(roc_auc_score(truth, scores))


def test_energy_ood_is_the_mean_of_ten_draws():
    found = get_image_protocol("energy_ood").compute(KNOWN, OUTLIERS)
    assert found == get_image_protocol("energy_ood").compute(KNOWN, OUTLIERS)
    assert found["auroc"] == pytest.approx(roc_auc_score(TRUTH, SCORES), abs=0.02)
    assert found["auroc"] != pytest.approx(roc_auc_score(TRUTH, SCORES), abs=1e-9)


def test_unknown_protocols_are_named():
    with pytest.raises(ValueError, match=r"'energy-ood'.*energy_ood.*sc-ood"):
        get_image_protocol("energy-ood")


def sample(name, label, predicted, score):
    return {"img_path": name, "gt_label": label, "pred_label": predicted, "pred_anomaly": score}


def evaluated(metric, samples):
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_accuracy_by_frequency_of_the_class():
    samples = [sample(f"{n}", n % 4, [0, 1, 2, 0][n % 4] if n < 12 else 3, n) for n in range(16)]
    found = evaluated(ImageAccuracyMetric(class_counts=[500, 50, 21, 3]), samples)
    # Classes 0 to 2 are right three times of four, class 3 once.
    assert found == {
        "image/accuracy": 62.5,
        "image/accuracy_many": 75.0,
        "image/accuracy_medium": 75.0,
        "image/accuracy_few": 25.0,
    }
    with pytest.raises(ValueError, match=r"0\.\.1, got 3"):
        evaluated(ImageAccuracyMetric(class_counts=[1, 1]), samples)
    with pytest.raises(ValueError, match="no image"):
        ImageAccuracyMetric().compute_metrics([])


def test_outliers_are_compared_with_the_known_set_and_listed_known_images(tmp_path):
    known = KnownScores(KNOWN[:400])
    metric = ImageAnomalyMetric(protocol="sc-ood", resamples=20, output_dir=tmp_path / "textures")
    metric.known = known
    samples = [sample(f"o{n}", OUTLIER, 0, float(one)) for n, one in enumerate(OUTLIERS)]
    samples += [sample(f"k{n}", 3, 3, float(one)) for n, one in enumerate(KNOWN[400:])]
    found = evaluated(metric, samples)
    expected = get_image_protocol("sc-ood").compute(KNOWN, OUTLIERS)
    assert found == pytest.approx({f"image/{k}": 100 * v for k, v in expected.items()})
    low, high = metric.intervals["auroc"]
    assert 60 < low < found["image/auroc"] < high < 85
    with (tmp_path / "textures" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), rows[0]["image"], rows[0]["label"]) == (300, "o0", "254")
    assert float(rows[0]["score"]) == float(OUTLIERS[0])


def test_what_cannot_be_evaluated_is_named():
    metric = ImageAnomalyMetric()
    with pytest.raises(ValueError, match="ImageLevelTestLoop"):
        evaluated(metric, [sample("a", OUTLIER, 0, 1.0)])
    metric = ImageAnomalyMetric()
    metric.known = KnownScores(KNOWN)
    with pytest.raises(ValueError, match="at least one outlier image; got 0"):
        evaluated(metric, [sample("a", 0, 0, 1.0)])
    with pytest.raises(ValueError, match=r"a\.png: its score is nan"):
        metric.process({}, [sample("a.png", 0, 0, float("nan"))])
    with pytest.raises(ValueError, match=r"resamples.*-1"):
        ImageAnomalyMetric(resamples=-1)
