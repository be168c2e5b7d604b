"""Expected calibration error against a loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ood_seg.calibration.reliability import expected_calibration_error, reliability


def test_by_hand():
    # Bins of width 1/2: 0.1 and 0.3 below; 0.5 belongs to the upper one, as does 1.
    diagram = reliability([0.1, 0.3, 0.5, 1.0], [6, 2, 1, 0], [0, 2, 1, 4], bins=2)
    assert diagram.confidence == pytest.approx([(0.6 + 1.2) / 10, (1.0 + 4) / 6])
    assert diagram.frequency == pytest.approx([0.2, 5 / 6])
    assert diagram.weight == pytest.approx([10 / 16, 6 / 16])
    assert expected_calibration_error(diagram) == pytest.approx(10 / 16 * 0.02)


def test_equals_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    p, known, anomalous = rng.random(40), rng.integers(0, 5, 40), rng.integers(0, 5, 40)
    expected = 0.0
    total = (known + anomalous).sum()
    for k in range(15):
        inside = [i for i in range(40) if k / 15 <= p[i] < (k + 1) / 15]
        pixels = [(p[i], y) for i in inside for y in [0] * known[i] + [1] * anomalous[i]]
        if pixels:
            confidence, target = np.mean(pixels, axis=0)
            expected += len(pixels) / total * abs(target - confidence)
    assert expected_calibration_error(reliability(p, known, anomalous)) == pytest.approx(expected)


def test_limits():
    assert expected_calibration_error(reliability([0, 1], [5, 0], [0, 3])) == 0
    assert expected_calibration_error(reliability([0, 1], [0, 3], [5, 0])) == 1


def test_bad_input():
    with pytest.raises(ValueError, match="at least one pixel"):
        reliability([0.5], [0], [0])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got -0.5 to 2"):
        reliability([-0.5, 2], [1, 1], [1, 1])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        reliability([0.5, np.nan], [1, 1], [1, 1])
