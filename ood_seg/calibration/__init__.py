"""From anomaly scores to probabilities and thresholds; NumPy, OpenCV and torch only."""

from ood_seg.calibration.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.calibration.curves import fit_isotonic, fit_logistic, score_counts
from ood_seg.calibration.operating_points import (
    OperatingPoint,
    count_false_alarms,
    flagged_shares,
    operating_point,
)
from ood_seg.calibration.reliability import Reliability, expected_calibration_error, reliability

__all__ = [
    "Calibration",
    "OperatingPoint",
    "Reliability",
    "calibrate",
    "count_false_alarms",
    "expected_calibration_error",
    "fit_isotonic",
    "fit_logistic",
    "flagged_shares",
    "operating_point",
    "reliability",
    "score_counts",
    "with_false_alarms",
]
