"""Evaluations of image-level sets from saved scores, and their reports."""

import json

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ood_seg.classification.evaluations import ScoredImages, image_evaluation, read_scores
from ood_seg.labels import OUTLIER
from ood_seg.reports import write_reports


def scored(prefix, labels, scores, predicted=None):
    predicted = np.zeros(len(labels), int) if predicted is None else predicted
    names = [f"{prefix}/{n}.png" for n in range(len(labels))]
    return ScoredImages(names, np.array(labels), np.array(predicted), np.float32(scores))


@pytest.fixture
def sets():
    random = np.random.default_rng(0)
    known = scored("known", [0] * 300, np.round(random.normal(0, 1, 300), 1))
    labels = [OUTLIER] * 150 + [1] * 20  # as SC-OOD lists have them
    other = scored("other", labels, np.round(random.normal(1, 1, 170), 1))
    return known, other


def test_the_metrics_are_those_of_all_images(sets):
    known, other = sets
    found = image_evaluation(known, other, method="tiny", data_set="other")
    truth = np.concatenate([np.zeros(300), other.labels == OUTLIER])
    scores = np.concatenate([known.scores, other.scores])
    metrics = found["metrics"]
    assert metrics["auroc"]["value"] == pytest.approx(roc_auc_score(truth, scores))
    assert metrics["ap"]["value"] == pytest.approx(average_precision_score(truth, scores))
    reverse = average_precision_score(1 - truth, -scores)
    assert metrics["ap_known"]["value"] == pytest.approx(reverse)
    assert found["pixels"] == {"known": 320, "anomalous": 150, "ignored": 0}
    assert sum(found["histogram"]["anomalous"]) == 150


def test_the_auroc_of_images_has_that_of_the_set_as_its_mean(sets):
    known, other = sets
    few = scored("other", [OUTLIER] * 60, other.scores[:60])
    found = image_evaluation(known, few, method="tiny", data_set="other")
    outliers = [one for one in found["images"] if one["anomalous"]]
    assert len(outliers) == 60
    mean = np.mean([one["auroc"] for one in outliers])
    assert mean == pytest.approx(found["metrics"]["auroc"]["value"])
    for one in found["images"]:
        side = few.scores if one["known"] else known.scores
        wrong = (side < one["score"]) if one["known"] else (side > one["score"])
        expected = 1 - np.mean(wrong) - np.mean(side == np.float32(one["score"])) / 2
        assert one["auroc"] == pytest.approx(expected)


def test_of_many_images_the_worst_the_middle_and_the_best_are_listed(sets):
    known, other = sets
    found = image_evaluation(known, other, method="tiny", data_set="other")
    outliers = [one["score"] for one in found["images"] if one["anomalous"]]
    assert len(outliers) == 99
    every = np.sort(other.scores[:150])
    np.testing.assert_array_equal(sorted(outliers)[:33], every[:33])
    np.testing.assert_array_equal(sorted(outliers)[-33:], every[-33:])


def test_the_report_shows_the_worst_and_the_best_images(tmp_path):
    paths = []
    for number in range(4):
        paths.append(str(tmp_path / f"{number}.png"))
        cv2.imwrite(paths[-1], np.full((8, 8, 3), 60 * number, np.uint8))
    known = ScoredImages(paths[:2], np.array([0, 1]), np.array([1, 1]), np.float32([0.5, 3]))
    labels = np.array([OUTLIER] * 3)
    gone = [*paths[2:], "batch#7"]  # an image without a file of its own
    other = ScoredImages(gone, labels, np.array([0, 1, 0]), np.float32([2, 4, 1]))
    found = image_evaluation(known, other, method="tiny", data_set="other", classes=["cat", "dog"])
    out = tmp_path / "report"
    written = write_reports(found, out, max_images=6)
    page = written["html"].read_text()
    assert page.count('class="example small"') == 5
    assert page.count("data:image/jpeg") == 4
    assert "outlier; predicted cat, score 1, AUROC 50.00 %" in page
    assert "known, dog; predicted dog, score 3, AUROC 33.33 %" in page
    assert "known images" in page
    assert "pixel" not in page.partition("<body>")[2].partition("<script>")[0].replace(
        "pixelated", ""
    )
    assert json.loads(written["json"].read_text())["unit"] == "image"
    assert "Image metrics on other" in written["tex"].read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na,1\n", "image, label, predicted, score"),
        ("image,label,predicted,score\n", "image, label, predicted, score"),
        ("image,label,predicted,score\na,0,0,warm\n", "warm"),
        ("image,label,predicted,score\na,0,0,nan\n", "NaN"),
        ("image,label,predicted,score\na,0,0\n", "scores.csv"),
    ],
)
def test_files_that_are_no_scores_are_refused(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_scores(tmp_path / "scores.csv")


def test_a_set_without_outliers_is_refused(sets):
    known, _ = sets
    with pytest.raises(ValueError, match="got 600 and 0"):
        image_evaluation(known, known, method="tiny", data_set="other")
