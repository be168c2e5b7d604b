"""What is chosen on one part of the images, to be reported on the other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ood_seg.calibration import Calibration, calibrate, operating_point
from ood_seg.evaluation.region_pass import RegionPlan
from ood_seg.evaluation.settings import Settings
from ood_seg.metrics.histogram import ScoreHistogram


class Parts(NamedTuple):
    """Names of the images to choose on and of those to report on."""

    select: list[str]
    report: list[str]


def split_images(histograms: Mapping[str, ScoreHistogram], fraction: float, seed: int) -> Parts:
    """Divide images at random into two parts without a common image.

    Images with anomalies are divided apart from those without, so that both parts get their
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


def plan_regions(
    settings: Settings,
    histograms: Mapping[str, ScoreHistogram],
    parts: Parts,
    best_f1_threshold: float,
    calibration: Calibration | None,
    *,
    closed_set: bool,
) -> RegionPlan:
    """The thresholds for the second reading, where they exist."""
    chosen = [histograms[name] for name in parts.select]
    both = all(sum(getattr(part, n) for part in chosen) for n in ("num_known", "num_anomalous"))
    threshold = best_f1_threshold
    if settings.threshold_on == "select":
        threshold = operating_point("best f1", chosen).threshold if both else float("nan")
    track = settings.track
    if track is not None and np.isnan(threshold):
        warnings.warn("no component metrics: the best F1 is undefined", stacklevel=2)
        track = None
    points = calibration.operating_points.values() if calibration else ()
    rejection = None
    if closed_set and both:
        # Rejected is what scores above the threshold, flagged what reaches it: the next lower
        # number of the scores' own type.
        flagged = chosen[0].lowest.dtype.type(operating_point("tpr 95%", chosen).threshold)
        rejection = float(np.nextafter(flagged, -flagged.dtype.type(np.inf)))
    elif closed_set:
        warnings.warn("no closed-set metrics: nothing to choose a threshold on", stacklevel=2)
    return RegionPlan(
        track=track,
        component_threshold=threshold if track else None,
        alarm_thresholds=tuple(point.threshold for point in points),
        rejection_threshold=rejection,
    )
