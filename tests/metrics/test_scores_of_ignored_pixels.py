"""Scores of ignored pixels may be anything, also NaN; they change no metric."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ood_seg.evaluation.saved_maps import MapFormat, MapReader, read_scores
from ood_seg.metrics import component_metrics, pixel_metrics
from ood_seg.metrics.instances import InstanceAP
from ood_seg.metrics.open_set import OpenSetMetrics
from ood_seg.metrics.pixel import PixelMetrics

RNG = np.random.default_rng(0)
LABELS = RNG.choice(np.uint8([0, 1, 255]), (40, 50), p=[0.6, 0.2, 0.2])
SCORES = RNG.normal(size=LABELS.shape).astype(np.float32)
HOLES = SCORES.copy()
HOLES[LABELS == 255] = RNG.choice([np.nan, np.inf, -np.inf], (LABELS == 255).sum())


def updated(metrics, *maps):
    metrics.update(*maps)
    return metrics.compute()


def test_they_change_nothing():
    classes = np.zeros(LABELS.shape, np.int64)
    open_labels = np.where(LABELS == 1, 254, LABELS)
    for compute in (
        lambda scores: pixel_metrics(scores, LABELS),
        lambda scores: updated(PixelMetrics(mode="streaming"), scores, LABELS),
        lambda scores: component_metrics(scores, LABELS, threshold=0.5),
        lambda scores: updated(InstanceAP(threshold=0.5), scores, LABELS),
        lambda scores: updated(OpenSetMetrics(2, threshold=0.5), classes, scores, open_labels),
    ):
        np.testing.assert_equal(compute(HOLES), compute(SCORES))
    assert np.isnan(HOLES).any()  # the input stays as it is


def test_scores_that_count_must_be_finite():
    for value in (np.nan, np.inf):
        scores = HOLES.copy()
        scores[np.unravel_index(np.flatnonzero(LABELS == 0)[7], LABELS.shape)] = value
        with pytest.raises(ValueError, match=r"must be finite, got 1 NaN|NaN and 1 infinite"):
            pixel_metrics(scores, LABELS)


def test_saved_maps(tmp_path):
    np.save(tmp_path / "a.npy", HOLES)
    cv2.imwrite(str(tmp_path / "a.png"), LABELS)
    for negate in (False, True):
        reader = MapReader(label_map={0: 0, 1: 1}, format=MapFormat(negate=negate))
        scores, labels = reader.read(tmp_path / "a.npy", tmp_path / "a.png")
        expected = np.where(LABELS == 255, 0, -SCORES if negate else SCORES)
        np.testing.assert_array_equal(scores, expected)
        np.testing.assert_array_equal(labels, LABELS)
    with pytest.raises(ValueError, match=r"a\.npy: .* NaN"):
        read_scores(tmp_path / "a.npy")
    bad = HOLES.copy()
    bad[LABELS == 1] = np.nan
    np.save(tmp_path / "a.npy", bad)
    with pytest.raises(ValueError, match=rf"a\.npy: {(LABELS == 1).sum()} NaN"):
        reader.read(tmp_path / "a.npy", tmp_path / "a.png")
