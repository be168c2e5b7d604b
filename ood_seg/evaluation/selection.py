"""Calibration and thresholds, selected on one part of the images and reported on the other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ood_seg.calibration import Calibration, calibrate, operating_point
from ood_seg.evaluation.region_pass import RegionPlan
from ood_seg.evaluation.settings import Settings
from ood_seg.metrics.histogram import ScoreHistogram


class Parts(NamedTuple):
    """Names of the images to select on and of those to report on."""

    select: list[str]
    report: list[str]


def split_images(histograms: Mapping[str, ScoreHistogram], fraction: float, seed: int) -> Parts:
    """Divide images at random into two parts without a common image.

    Images with anomalies and those without are divided separately, so that both parts get their
    share. A fraction of 0 means no division: both parts are all images.
    """
    if fraction == 0:
        return Parts(list(histograms), list(histograms))
    rng = np.random.default_rng(seed)
    selected: set[str] = set()
    for anomalous in (True, False):
        names = [n for n in sorted(histograms) if (histograms[n].num_anomalous > 0) == anomalous]
        chosen = rng.permutation(len(names))[: round(fraction * len(names))]
        selected.update(names[index] for index in chosen)
    return Parts(sorted(selected), [name for name in histograms if name not in selected])


def fit_calibration(
    settings: Settings, histograms: Mapping[str, ScoreHistogram], parts: Parts
) -> Calibration | None:
    """The calibration on the images to select on; a warning where there can be none."""
    if settings.calibration is None:
        return None
    if not any(histograms[name].lowest.size for name in parts.report):
        warnings.warn("no calibration: no image is left to report it on", stacklevel=2)
        return None
    try:
        return calibrate(
            [histograms[name] for name in parts.select],
            score=settings.method,
            data_set=settings.data_set,
            method=settings.calibration,
            seed=settings.seed,
        )
    except ValueError as error:
        warnings.warn(f"no calibration from {len(parts.select)} images: {error}", stacklevel=2)
        return None


class Selection(NamedTuple):
    """Calibration and thresholds selected on one part of the images.

    Attributes:
        parts: the images to select on and to report on.
        calibration: None where there can be none.
        plan: thresholds for the second pass.
    """

    parts: Parts
    calibration: Calibration | None
    plan: RegionPlan


def select(
    settings: Settings,
    histograms: Mapping[str, ScoreHistogram],
    best_f1_threshold: float,
    *,
    closed_set: bool,
) -> Selection:
    """Calibration and thresholds, fitted on the images to select on.

    Args:
        settings: what to select.
        histograms: of all images, by name.
        best_f1_threshold: of all images.
        closed_set: whether a threshold of rejection is needed.
    """
    parts = split_images(histograms, settings.select_fraction, settings.seed)
    calibration = fit_calibration(settings, histograms, parts)
    chosen = [histograms[name] for name in parts.select]
    both = all(sum(getattr(part, n) for part in chosen) for n in ("num_known", "num_anomalous"))
    threshold = best_f1_threshold
    if settings.threshold_on == "select":
        threshold = operating_point("best f1", chosen).threshold if both else float("nan")
    track = settings.track
    if track is not None and np.isnan(threshold):
        warnings.warn("no component metrics: the best F1 is undefined", stacklevel=2)
        track = None
    if closed_set and not both:
        warnings.warn("no closed-set metrics: no image to select a threshold on", stacklevel=2)
    points = calibration.operating_points.values() if calibration else ()
    plan = RegionPlan(
        track=track,
        component_threshold=threshold if track else None,
        alarm_thresholds=tuple(point.threshold for point in points),
        rejection_threshold=_rejection_threshold(chosen) if closed_set and both else None,
    )
    return Selection(parts, calibration, plan)


def _rejection_threshold(histograms: Sequence[ScoreHistogram]) -> float:
    """Threshold above which 95 % of the anomalous pixels are rejected.

    An operating point flags what reaches its threshold, but rejected is what scores above one: so
    it is the next lower number of the scores' own type.
    """
    reached = operating_point("tpr 95%", histograms).threshold
    number = histograms[0].lowest.dtype.type
    return float(np.nextafter(number(reached), number(-np.inf)))
