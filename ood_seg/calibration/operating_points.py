"""Thresholds for a target rate, and what they cost. A pixel is flagged if `score >= threshold`.

The names of the points in files; `fpr-5%` is the same name, which needs no quotes in a shell:

    fpr 5%             lowest threshold with at most 5 % of all known pixels flagged
    tpr 95%            highest threshold with at least 95 % of all anomalous pixels flagged
    best f1            threshold of the best F1 over all pixels
    conformal fpr 5%   lowest threshold whose expected share of flagged known pixels in a new
                       image is at most 5 %
    conformal tpr 95%  highest threshold whose expected share of found anomalous pixels in a new
                       image (that has some) is at least 95 %

The first three hold on the calibration images, the conformal ones for new images. Their unit is
the image, because pixels of one image are not exchangeable with those of another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ood_seg.arrays import as_numpy
from ood_seg.calibration.conformal import (
    bin_thresholds,
    conformal_fpr,
    conformal_tpr,
    images_needed,
    miss_rate,
)
from ood_seg.labels import ANOMALY, IGNORE
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.overlaps import label_components
from ood_seg.spelling import point_name

_NAME = re.compile(r"best f1|(?P<conformal>conformal )?(?P<kind>fpr|tpr) (?P<percent>\d+(\.\d+)?)%")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and its rates over all pixels of the calibration images.

    Attributes:
        name: as above.
        threshold: pixels with `score >= threshold` are flagged; one of the scores, exact in their
            own type, or just above all of them.
        tpr: share of the anomalous pixels that are flagged; NaN where there were none.
        fpr: share of the known pixels that are flagged.
        false_alarms_per_image: mean of `count_false_alarms`; None where no maps were given.
        guarantee: what holds in expectation for new images, in words; None: nothing.
    """

    name: str
    threshold: float
    tpr: float
    fpr: float
    false_alarms_per_image: float | None = None
    guarantee: str | None = None


def operating_point(
    name: str, histograms: Sequence[ScoreHistogram], *, merged: ScoreHistogram | None = None
) -> OperatingPoint:
    """The operating point of that name.

    Args:
        name: as above.
        histograms: one per image; together they hold both classes, or known pixels alone for a
            point by its FPR.
        merged: all of them, where they are merged already.

    Raises:
        ValueError: unknown name, a percentage outside 0..100, a class without pixels, or too few
            images for a conformal guarantee (the message names the number needed).
    """
    match, name = _parsed(name), point_name(name)
    merged = ScoreHistogram.merged(histograms) if merged is None else merged
    if not merged.num_known or (needs_anomalies(name) and not merged.num_anomalous):
        raise ValueError(
            f"operating point {name!r} needs pixels of both classes, got {merged.num_known} known "
            f"and {merged.num_anomalous} anomalous; known pixels alone give points such as 'fpr 1%'"
        )
    if match["conformal"]:
        conformal = conformal_fpr if match["kind"] == "fpr" else conformal_tpr
        threshold, guarantee = conformal(histograms, _share(match))
    else:
        threshold, guarantee = _pooled_threshold(match, merged), None
    return OperatingPoint(name, threshold, *flagged_shares(histograms, threshold), None, guarantee)


def flagged_shares(histograms: Sequence[ScoreHistogram], threshold: float) -> tuple[float, float]:
    """True-positive and false-positive rate over all pixels; NaN where a class is absent."""
    shares = []
    for name in ("anomalous", "known"):
        parts = [(getattr(part, name), part.lowest >= threshold) for part in histograms]
        flagged = sum(int(counts[above].sum()) for counts, above in parts)
        total = sum(int(counts.sum()) for counts, _ in parts)
        shares.append(flagged / total if total else float("nan"))
    return shares[0], shares[1]


def count_false_alarms(
    scores: Any,
    labels: Any,
    threshold: float,
    *,
    min_area: int,
    ignore_index: int = IGNORE,
) -> int:
    """Number of flagged 8-connected components that hold no anomalous pixel.

    Args:
        scores: `(H, W)`, tensor or array.
        labels: the same shape: 0 known, 1 anomaly, `ignore_index`, whose pixels are never flagged.
        threshold: pixels with `score >= threshold` are flagged.
        min_area: smaller components do not count.
        ignore_index: label of the pixels to leave out.

    Raises:
        ValueError: `min_area` is below 1.
    """
    if min_area < 1:
        raise ValueError(f"min_area, in pixels, must be at least 1; got {min_area}")
    scores, labels = as_numpy(scores), as_numpy(labels)
    components, area = label_components((scores >= threshold) & (labels != ignore_index))
    is_alarm = np.append(False, area >= min_area)  # the background is number 0
    is_alarm[components[labels == ANOMALY]] = False
    return int(np.count_nonzero(is_alarm))


def needs_anomalies(name: str) -> bool:
    """Whether a point takes anomalous pixels, as all but those by their FPR do."""
    return _parsed(name)["kind"] != "fpr"


def smallest_conformal_set(name: str) -> int:
    """Images that a conformal point takes at least; 0 for any other point."""
    match = _parsed(name)
    if match["conformal"] is None:
        return 0
    share = _share(match)
    return images_needed(share if match["kind"] == "fpr" else miss_rate(share))


def _parsed(name: str) -> re.Match:
    match = _NAME.fullmatch(point_name(name))
    if match is None or not 0 <= float(match["percent"] or 0) <= 100:
        raise ValueError(
            f"operating point {name!r}: expected 'best f1', or 'fpr', 'tpr', 'conformal fpr' or "
            "'conformal tpr' with a percentage from 0 to 100, such as 'fpr-5%'"
        )
    return match


def _share(match: re.Match) -> float:
    return float(match["percent"]) / 100


def _pooled_threshold(match: re.Match, merged: ScoreHistogram) -> float:
    """Threshold by the rates over all pixels."""
    # Entry k: the k highest bins are flagged.
    true_positives, false_positives = (
        np.concatenate([[0], np.cumsum(count[::-1])]) for count in (merged.anomalous, merged.known)
    )
    if match["kind"] == "fpr":
        chosen = np.flatnonzero(false_positives / merged.num_known <= _share(match))[-1]
    elif match["kind"] == "tpr":
        chosen = np.flatnonzero(true_positives / merged.num_anomalous >= _share(match))[0]
    else:
        passed = true_positives + false_positives
        chosen = np.argmax(2 * true_positives / (passed + merged.num_anomalous))
    return float(bin_thresholds(merged)[chosen])
