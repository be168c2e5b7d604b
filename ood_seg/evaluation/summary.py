"""Sections of `evaluation.json`: pure functions of histograms and counts; fractions of 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ood_seg.calibration import (
    Calibration,
    expected_calibration_error,
    flagged_shares,
    reliability,
    score_counts,
)
from ood_seg.evaluation.region_pass import NUM_CLASSES, ImageRegions
from ood_seg.metrics.bootstrap import BootstrapResult, Comparison
from ood_seg.metrics.component import ComponentMetrics
from ood_seg.metrics.curves import pixel_curves
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.open_set import OpenSetMetrics
from ood_seg.metrics.rank_metrics import bounds_from_counts, metrics_from_counts
from ood_seg.metrics.ranking import RankCounts

_DISPLAY_BINS = 200
# At least this share of each class is in the first and in the last display bin together.
_TAIL = 0.001
_INVERTED = 0.3
_FEW_LEVELS = 256


def pixel_section(
    counts: RankCounts,
    protocol_values: Mapping[str, float],
    intervals: BootstrapResult | None,
    *,
    streaming: bool,
    tprs: Sequence[float],
) -> dict[str, Any]:
    """`metrics`, `best_f1_threshold`, `interval` and `curves`.

    Args:
        counts: of all images.
        protocol_values: metrics of another protocol than 'pooled', which replace ours and have
            neither bounds nor intervals; empty for 'pooled'.
        intervals: None: none.
        streaming: whether the values need bounds.
        tprs: true-positive rates of the FPR metrics.
    """
    values = metrics_from_counts(counts, tprs=tprs, best_f1=True)
    threshold = values.pop("best_f1_threshold")
    bounds = bounds_from_counts(counts, tprs=tprs, best_f1=True) if streaming else {}
    if intervals and not intervals.samples:  # one image or one class alone
        intervals = None
    known_intervals = intervals.intervals if intervals else {}
    metrics = {
        name: {
            "value": value,
            "bounds": list(bounds[name]) if name in bounds else None,
            "interval": list(known_intervals[name][1:]) if name in known_intervals else None,
        }
        for name, value in values.items()
    }
    for name, value in protocol_values.items():
        metrics[name] = {"value": value, "bounds": None, "interval": None}
    curves = pixel_curves(counts, tprs=tprs)
    return {
        "metrics": metrics,
        "best_f1_threshold": threshold,
        "interval": intervals
        and {"level": intervals.level, "samples": intervals.samples, "unit": "images"},
        "curves": {
            "roc": {"fpr": curves.fpr.tolist(), "tpr": curves.tpr.tolist()},
            "pr": {"recall": curves.recall.tolist(), "precision": curves.precision.tolist()},
        },
    }


def display_histogram(merged: ScoreHistogram) -> dict[str, list]:
    """Counts over bins of equal width, for a plot.

    The bins span all but the outermost 0.1 % of each class; scores beyond count in the first and
    the last bin.
    """
    middle = merged.middle
    ends = [
        middle[np.searchsorted(np.cumsum(counts), share * counts.sum())]
        for counts in (merged.known, merged.anomalous)
        if counts.any()
        for share in (_TAIL, 1 - _TAIL)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if not high > low:
        margin = max(abs(low) * 1e-3, 1e-6)
        low, high = low - margin, high + margin
    edges = np.linspace(low, high, _DISPLAY_BINS + 1)
    place = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, _DISPLAY_BINS - 1)
    known, anomalous = (
        np.bincount(place, counts, minlength=_DISPLAY_BINS).astype(np.int64).tolist()
        for counts in (merged.known, merged.anomalous)
    )
    return {"edges": edges.tolist(), "known": known, "anomalous": anomalous}


def calibration_section(
    calibration: Calibration,
    histograms: Sequence[ScoreHistogram],
    regions: Sequence[ImageRegions],
) -> dict[str, Any]:
    """Results of a calibration on images that it was not fitted on.

    Args:
        calibration: fitted on the images to select on.
        histograms: of the images to report on.
        regions: of these, with the false alarms of each operating point; or none.
    """
    counts = score_counts(histograms)
    before = reliability(_scaled(counts.scores, calibration.score_range), *counts[1:])
    diagram = reliability(calibration.probability(counts.scores), *counts[1:])
    alarms = np.array([part.false_alarms for part in regions])
    points = []
    for index, point in enumerate(calibration.operating_points.values()):
        tpr, fpr = flagged_shares(histograms, point.threshold)
        points.append(
            {
                "name": point.name,
                "threshold": point.threshold,
                "tpr": tpr,
                "fpr": fpr,
                "false_alarms_per_image": float(alarms[:, index].mean()) if len(alarms) else None,
                "guarantee": point.guarantee,
            }
        )
    return {
        "method": calibration.method,
        "ece_before": expected_calibration_error(before),
        "ece_after": expected_calibration_error(diagram),
        "reliability": {name: part.tolist() for name, part in diagram._asdict().items()},
        "operating_points": points,
        "select_images": calibration.num_images,
        "report_images": len(histograms),
    }


def component_section(
    regions: Iterable[ImageRegions], *, threshold: float, track: str
) -> dict[str, Any]:
    """Component metrics over images."""
    metrics = ComponentMetrics(threshold=threshold, track=track)
    for part in regions:
        if part.components is not None:
            metrics.add(part.components)
    return {**metrics.compute(), "threshold": threshold}


def closed_set_section(regions: Iterable[ImageRegions], *, threshold: float) -> dict[str, Any]:
    """mIoU, and mIoU with rejection, over the images that have class labels."""
    metrics = OpenSetMetrics(NUM_CLASSES, threshold=threshold)
    tables = [part.confusion for part in regions if part.confusion is not None]
    metrics.counts += np.sum(tables, axis=0, dtype=np.int64)
    return {**metrics.compute(), "threshold": threshold, "num_images": len(tables)}


def image_rows(histograms: Mapping[str, ScoreHistogram]) -> list[dict[str, Any]]:
    """Pixel counts and metrics of each image, None where it holds one class only.

    Of a large image they are as exact as its histogram: the false-positive and the miss rate are
    overstated by 0.05 % of themselves at most.
    """
    rows = []
    for name, histogram in histograms.items():
        metrics = metrics_from_counts(histogram.rank_counts())
        defined = {key: None if np.isnan(value) else value for key, value in metrics.items()}
        rows.append({"name": name, **pixel_counts(histogram), **defined})
    return rows


def pixel_counts(histogram: ScoreHistogram) -> dict[str, int]:
    """Known, anomalous and ignored pixels."""
    return {
        "known": histogram.num_known,
        "anomalous": histogram.num_anomalous,
        "ignored": histogram.num_ignored,
    }


def comparison_section(name: str, comparison: Comparison) -> dict[str, Any]:
    """Another method against this one, `second - first` of each metric."""
    return {
        "method": name,
        "level": comparison.level,
        "samples": comparison.samples,
        "metrics": {
            metric: {
                "first": part.first,
                "second": part.second,
                "difference": part.difference,
                "interval": [part.low, part.high],
                "p_value": part.p_value,
            }
            for metric, part in comparison.differences.items()
        },
    }


def _label_remedy(missing: str, num_ignored: int) -> str:
    """What to do where the ground truth lacks one kind of pixels."""
    if missing == "anomalous" and num_ignored:
        return (
            f"255 is ignored ({num_ignored} pixels): if it marks the anomalies, as in masks of 0 "
            "and 255, give --label-map 0:0 255:1."
        )
    return "Check the label values and --label-map."


def hints(merged: ScoreHistogram, auroc: float) -> list[str]:
    """Sentences on what looks wrong in the scores or the ground truth; nothing is changed."""
    found = []
    for name, label, count in (
        ("known", 0, merged.num_known),
        ("anomalous", 1, merged.num_anomalous),
    ):
        if not count:
            found.append(
                f"no {name} pixel (label {label}) in the ground truth: AUROC, AP and FPR95 are "
                f"undefined. {_label_remedy(name, merged.num_ignored)}"
            )
    if auroc < _INVERTED:
        found.append(
            f"AUROC is {auroc:.3f}, far below 0.5: known pixels score higher than anomalous ones. "
            "Higher must mean more anomalous; --negate inverts confidences. Nothing was changed."
        )
    levels = merged.lowest.size
    if levels <= _FEW_LEVELS < merged.num_known:
        found.append(
            f"most pixels tie, since the number of distinct scores is only {levels}; metrics are "
            "coarse then. Usual causes: 8-bit maps, saturated scores, or float32 scores far from "
            "zero (neighbouring values are 0.06 apart at 1e6: subtract an offset before saving)."
        )
    return found


def _scaled(scores: np.ndarray, score_range: tuple[float, float]) -> np.ndarray:
    """Scores as if they were probabilities, as in `Calibration.ece_before`."""
    low, high = score_range
    if scores.min() >= 0 and scores.max() <= 1:
        return scores
    return np.clip((scores - low) / (high - low), 0, 1)
