"""KnownIoUMetric against mmseg's own metric and a hand-worked scene."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from evaluation_samples import CLASSES, data_sample, random_samples
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS

from ood_seg.evaluation import AnomalyMetric, KnownIoUMetric


def evaluate(samples, *metrics, classes=CLASSES) -> dict:
    """Results of `metrics` over `samples` in one evaluator."""
    evaluator = Evaluator(list(metrics))
    evaluator.dataset_meta = {"classes": classes}
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def hidden(samples):
    """Copies of the samples in which 254 is 255."""
    # Not sample.clone(): its fields are those of the original.
    copies = copy.deepcopy(samples)
    for sample in copies:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 254] = 255
    return copies


@pytest.fixture
def hand_sample():
    """Road 2 of 3 pixels right, the third called sky; sky right; two outliers called road."""
    labels = [[0, 0, 0], [1, 254, 254]]
    return data_sample(np.zeros((2, 3), np.float32), labels, [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("per_class_table", [True, False])
def test_by_hand(hand_sample, per_class_table):
    result = evaluate([hand_sample], KnownIoUMetric(per_class_table=per_class_table))
    # IoU: road 2/3, sky 1/2, the car does not occur. Accuracy: 2/3 and 1; 3 of 4 pixels.
    assert result == pytest.approx({"aAcc": 75.0, "mIoU": 58.33, "mAcc": 83.33}, abs=0.005)


@pytest.mark.parametrize("per_class_table", [True, False])
@pytest.mark.parametrize("iou_metrics", [["mIoU"], ["mIoU", "mDice", "mFscore"]])
def test_equals_mmseg_on_labels_without_outliers(per_class_table, iou_metrics):
    samples = random_samples(3)
    config = {"type": "KnownIoUMetric", "per_class_table": per_class_table}
    metric = METRICS.build({**config, "iou_metrics": iou_metrics})
    result = evaluate(samples, metric)
    expected = evaluate(hidden(samples), IoUMetric(iou_metrics=iou_metrics))
    assert result == expected
    assert result != evaluate(samples, IoUMetric(iou_metrics=iou_metrics))


@pytest.mark.parametrize("known_first", [True, False])
def test_beside_anomaly_metric_in_any_order(known_first):
    samples = random_samples(3)
    before = [sample.gt_sem_seg.data.clone() for sample in samples]
    known, anomaly = KnownIoUMetric(per_class_table=False), AnomalyMetric(label_space="training")
    order = (known, anomaly) if known_first else (anomaly, known)
    result = evaluate(samples, *order)
    alone = evaluate(samples, KnownIoUMetric())
    alone |= evaluate(samples, AnomalyMetric(label_space="training"))
    assert result == alone
    assert set(result) == {"aAcc", "mIoU", "mAcc", "anomaly/auroc", "anomaly/ap", "anomaly/fpr95"}
    for sample, labels in zip(samples, before, strict=True):
        assert torch.equal(sample.gt_sem_seg.data, labels)


def test_table_is_logged_only_if_asked_for(hand_sample, monkeypatch):
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, "log", lambda level, message: lines.append(message))
    monkeypatch.setattr(logger, "info", lines.append)
    evaluate([hand_sample], KnownIoUMetric(per_class_table=False))
    assert lines == []
    evaluate([hand_sample], KnownIoUMetric())
    assert any("car" in line for line in lines)


def test_other_outlier_index(hand_sample):
    hand_sample.gt_sem_seg.data[hand_sample.gt_sem_seg.data == 254] = 200
    result = evaluate([hand_sample], KnownIoUMetric(outlier_index=200))
    assert result["mIoU"] == pytest.approx(58.33, abs=0.005)


@pytest.mark.parametrize("per_class_table", [True, False])
def test_no_image(per_class_table):
    with pytest.raises(ValueError, match="got no image"):
        evaluate([], KnownIoUMetric(per_class_table=per_class_table))


def test_prediction_only(hand_sample, tmp_path):
    metric = KnownIoUMetric(format_only=True, output_dir=str(tmp_path))
    hand_sample.set_metainfo({"img_path": "frames/a.png"})
    del hand_sample.gt_sem_seg
    assert evaluate([hand_sample], metric) == {}
    assert (tmp_path / "a.png").exists()
