"""A shift or a scale of all scores moves thresholds along and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_seg.calibration import calibrate, operating_point
from ood_seg.metrics import bootstrap_metrics, compare_methods, metrics_from_scores, resampling
from ood_seg.metrics import histogram as histogram_module
from ood_seg.metrics.histogram import ScoreHistogram

POINTS = ("fpr 5%", "tpr 95%", "best f1", "conformal fpr 30%", "conformal tpr 70%")

# Between 2**19 and 2**20 neighbouring float32 numbers are 1/16 apart: multiples of it below 64
# keep their differences when up to a million is added.
STEP = 1 / 16


def images(seed: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Five images of scores on the grid, unlike each other, with labels."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(5):
        labels = (rng.random(size) < 0.2).astype(np.uint8)
        labels[:2] = 0, 1
        scores = rng.normal(scale=4, size=size) + 4 * labels + rng.normal(scale=2)
        drawn.append((scores, labels))
    return [(on_grid(scores), labels) for scores, labels in drawn]


def on_grid(scores: np.ndarray) -> np.ndarray:
    return np.clip(np.round(scores / STEP) * STEP, -60, 60).astype(np.float32)


@pytest.fixture(scope="module", params=["a bin for each score", "joined bins"])
def bins(request):
    """Images as they are, and so large that their bins are joined."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "joined bins":
            patch.setattr(histogram_module, "EXACT_BINS", 30)
            patch.setattr(resampling, "EXACT_BINS", 30)
            patch.setattr(histogram_module, "RESOLUTION", 6)
        yield request.param


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([40, 300, 1000]),
    steps=st.integers(-(10**6) * 16, 10**6 * 16),
    exponent=st.integers(-60, 60),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_nothing_changes_but_the_thresholds(bins, seed, size, steps, exponent, dtype):
    offset, scale = dtype(steps * STEP), dtype(2.0**exponent)

    def changed(scores):
        return scale * (scores.astype(dtype) + offset)

    plain = images(seed, size)
    moved = [(changed(scores), labels) for scores, labels in plain]
    assert exact_metrics(plain) == exact_metrics(moved)
    before, after = (
        [ScoreHistogram.from_scores(*image) for image in part] for part in (plain, moved)
    )
    if size > 40:  # the images do what they are for
        joined = before[0].lowest.size < np.unique(plain[0][0]).size
        assert joined == (bins == "joined bins")
    assert bootstrap_metrics(before, samples=20) == bootstrap_metrics(after, samples=20)
    others = [ScoreHistogram.from_scores(on_grid(s + 2 * y), y) for s, y in plain]
    compared, again = (
        compare_methods(dict(enumerate(part)), dict(enumerate(others)), samples=20)
        for part in (before, after)
    )
    assert compared == again
    for name in POINTS:
        check_point(operating_point(name, before), operating_point(name, after), changed, moved)
    check_probability(before, after, changed)


def exact_metrics(maps):
    known, anomalous = ([scores[labels == label] for scores, labels in maps] for label in (0, 1))
    return metrics_from_scores(known, anomalous)


def check_point(point, again, changed, moved):
    assert (again.tpr, again.fpr) == (point.tpr, point.fpr)
    highest = max(scores.max() for scores, _ in moved)
    if (point.tpr, point.fpr) == (0, 0):
        assert again.threshold > highest
    else:
        assert again.threshold == changed(np.float32(point.threshold))


def check_probability(before, after, changed):
    """The isotonic fit, which is a function of the order alone."""
    options = {"score": "Energy", "data_set": "drawn", "method": "isotonic", "points": []}
    curve, again = (calibrate(part, **options).curve for part in (before, after))
    assert again.probabilities == curve.probabilities
    assert again.scores == tuple(changed(np.array(curve.scores)).tolist())
