"""The pixel metrics, and bounds of them, from `RankCounts`.

At the threshold t everything with a score >= t is called anomalous, so pixels with equal scores
pass it together. With TP and FP counted from the highest score down to and with a group, and TP',
FP' without it:

    AUROC = sum over groups of anomalous/A * (below + equal/2)/K
    AP    = sum over groups of anomalous/A * TP/(TP + FP)
    FPR95 = FP/K of the first group whose TP reaches 95 % of A
    F1    = 2 TP/(TP + FP + A)

In an unresolved group (a bin of several scores) the order is unknown. The value assumes the middle
of the group, the bounds the worst and the best order possible; see `_ap_bounds`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ood_seg.labels import ANOMALY, KNOWN
from ood_seg.metrics.ranking import RankCounts

# More than the rounding of any sum here, so that bounds hold in floating point as well.
_ROUNDING = 1e-12

# An AUROC below this looks like a good score with the wrong sign.
_INVERTED = 0.3


class _Cumulative(NamedTuple):
    """Counts from the highest score down, per group `(D,)`: with the group and without it."""

    tp: np.ndarray
    fp: np.ndarray
    tp_before: np.ndarray
    fp_before: np.ndarray


def metrics_from_counts(
    counts: RankCounts, *, tprs: Sequence[float] = (0.95,), best_f1: bool = False
) -> dict[str, float]:
    """The metrics as fractions of 1.

    Args:
        counts: of at least one known and one anomalous pixel; else all metrics are NaN.
        tprs: true-positive rates at which the false-positive rate is taken.
        best_f1: also the highest F1 of all thresholds, and the highest threshold that gives it.

    Returns:
        'auroc', 'ap', for each of `tprs` 'fpr95', 'fpr99.5' and so on, and on demand 'best_f1'
        and 'best_f1_threshold'.

    Raises:
        ValueError: a true-positive rate is not in (0, 1].
    """
    names = metric_names(tprs, best_f1)
    num_anomalous = int(counts.anomalous.sum())
    if not counts.num_known or not num_anomalous:
        return dict.fromkeys(names, float("nan"))
    sums = _cumulative(counts)
    below = (counts.known_below + counts.known_equal / 2) / counts.num_known
    # Divided last: sums of parts of the counts are at most the sum of the counts, which is exact.
    totals = counts.anomalous @ below, counts.anomalous @ _precision(counts, sums)
    values = [float(total / num_anomalous) for total in totals]
    for tpr in tprs:
        group, needed = _first_group(counts, sums, tpr)
        false_positives = sums.fp[group]
        if _is_unresolved(counts, group):
            share = (needed - sums.tp_before[group]) / counts.anomalous[group]
            false_positives = sums.fp_before[group] + share * counts.known_equal[group]
        values.append(float(false_positives / counts.num_known))
    if best_f1:
        f1 = 2 * sums.tp / (sums.tp + sums.fp + num_anomalous)
        best = f1.size - 1 - int(np.argmax(f1[::-1]))
        values += [float(f1[best]), float(counts.scores[best])]
    return dict(zip(names, values, strict=True))


def detection_error(counts: RankCounts) -> float:
    """Smallest mean of miss rate and false-positive rate over all thresholds, 0 to 0.5.

    Source: Liang, Li and Srikant, "Enhancing The Reliability of Out-of-distribution Image
    Detection in Neural Networks", ICLR 2018, and the code released with it.

    Args:
        counts: of at least one known and one anomalous pixel (else NaN), all groups resolved.
    """
    num_anomalous = int(counts.anomalous.sum())
    if not counts.num_known or not num_anomalous:
        return float("nan")
    sums = _cumulative(counts)
    errors = (1 - sums.tp / num_anomalous + sums.fp / counts.num_known) / 2
    return min(float(errors.min()), 0.5)


def metrics_with_hints(
    counts: RankCounts, tprs: Sequence[float], best_f1: bool
) -> dict[str, float]:
    """`metrics_from_counts` with a warning where a class is absent or the scores seem inverted."""
    metrics = metrics_from_counts(counts, tprs=tprs, best_f1=best_f1)
    num_anomalous = int(counts.anomalous.sum())
    if not counts.num_known or not num_anomalous:
        _warn_absent_class(counts.num_known, num_anomalous)
    elif metrics["auroc"] < _INVERTED:
        warnings.warn(
            f"AUROC is {metrics['auroc']:.3f}, far below 0.5: known pixels score higher than "
            "anomalous ones. Higher must mean more anomalous; if these are confidences or "
            "negative energies, negate them. Nothing was changed here.",
            stacklevel=3,
        )
    return metrics


def bounds_from_counts(
    counts: RankCounts, *, tprs: Sequence[float] = (0.95,), best_f1: bool = False
) -> dict[str, tuple[float, float]]:
    """For each metric a range that contains its exact value.

    Arguments and errors as `metrics_from_counts`; there is none for 'best_f1_threshold'. Where
    all groups are resolved, low and high differ by no more than rounding.
    """
    names = [name for name in metric_names(tprs, best_f1) if name != "best_f1_threshold"]
    num_anomalous = int(counts.anomalous.sum())
    if not counts.num_known or not num_anomalous:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    sums = _cumulative(counts)
    weights = counts.anomalous / num_anomalous
    slack = _where_unresolved(counts, counts.known_equal / 2, np.zeros(counts.known_equal.size))
    middle = counts.known_below + counts.known_equal / 2
    bounds = [
        tuple(float(weights @ (middle + side)) / counts.num_known for side in (-slack, slack)),
        tuple(float(bound.sum()) / num_anomalous for bound in _ap_bounds(counts, sums)),
    ]
    for tpr in tprs:
        group, _ = _first_group(counts, sums, tpr)
        lowest = sums.fp_before[group] if _is_unresolved(counts, group) else sums.fp[group]
        bounds.append((lowest / counts.num_known, sums.fp[group] / counts.num_known))
    if best_f1:
        # The end of a group is a threshold; before it at best all its anomalies have passed.
        reached = (2 * sums.tp / (sums.tp + sums.fp + num_anomalous)).max()
        fewest = _where_unresolved(counts, sums.fp_before, sums.fp)
        bounds.append((reached, (2 * sums.tp / (sums.tp + fewest + num_anomalous)).max()))
    widened = [
        (max(float(low) - _ROUNDING, 0.0), min(float(high) + _ROUNDING, 1.0))
        for low, high in bounds
    ]
    return dict(zip(names, widened, strict=True))


def metric_names(tprs: Sequence[float], best_f1: bool) -> list[str]:
    """Names of the metrics, in the order of `metrics_from_counts`."""
    for tpr in tprs:
        if not 0 < tpr <= 1:
            raise ValueError(
                f"tprs are true-positive rates, fractions of 1 (0.95 for 95 %), got {tpr}"
            )
    rates = [f"fpr{100 * tpr:.10g}" for tpr in tprs]
    return ["auroc", "ap", *rates, *(["best_f1", "best_f1_threshold"] if best_f1 else [])]


def _cumulative(counts: RankCounts) -> _Cumulative:
    """True and false positives at the end of each group and just before it."""
    tp = np.cumsum(counts.anomalous[::-1])[::-1]
    fp = counts.num_known - counts.known_below
    return _Cumulative(tp, fp, tp - counts.anomalous, fp - counts.known_equal)


def _precision(counts: RankCounts, sums: _Cumulative) -> np.ndarray:
    """Precision at the end of each group, in the middle of an unresolved one, `(D,)`."""
    exact = sums.tp / (sums.tp + sums.fp)
    middle_tp = sums.tp_before + (counts.anomalous + 1) / 2
    middle = middle_tp / (middle_tp + sums.fp_before + counts.known_equal / 2)
    return _where_unresolved(counts, middle, exact)


def _ap_bounds(counts: RankCounts, sums: _Cumulative) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the precisions at the anomalies of each group, lowest and highest, `(D,)` each.

    Lowest: all known pixels of the group come first, then the a anomalies one by one, which adds
    up to `sum_{j=1..a} (TP' + j)/(TP' + j + FP)`, that is `a - FP sum_j 1/(TP' + FP + j)`. As 1/x
    is convex, `sum_j 1/(x + j) <= log((x + a + 1/2)/(x + 1/2))`. Highest: all anomalies come
    first and tie, so that each counts the precision of the last, `(TP' + a)/(TP' + a + FP')`.
    """
    exact = counts.anomalous * (sums.tp / (sums.tp + sums.fp))
    start = sums.tp_before + sums.fp
    lowest = counts.anomalous - sums.fp * np.log1p(counts.anomalous / (start + 0.5))
    highest = counts.anomalous * (sums.tp / (sums.tp + sums.fp_before))
    return _where_unresolved(counts, lowest, exact), _where_unresolved(counts, highest, exact)


def _first_group(counts: RankCounts, sums: _Cumulative, tpr: float) -> tuple[int, int]:
    """The first (highest) group that reaches `tpr`, and the true positives that it takes.

    "At least" is decided in integers: 19 of 20 suffice for 0.95, whatever 0.95 rounds to.
    """
    needed = -(-int(sums.tp[0]) * Fraction(str(tpr)) // 1)
    return int(np.flatnonzero(sums.tp >= needed)[-1]), int(needed)


def _is_unresolved(counts: RankCounts, group: int) -> bool:
    return counts.unresolved is not None and bool(counts.unresolved[group])


def _where_unresolved(counts: RankCounts, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    return outside if counts.unresolved is None else np.where(counts.unresolved, inside, outside)


def _warn_absent_class(num_known: int, num_anomalous: int) -> None:
    """Warn that the metrics are NaN, name the class without pixels and what to look at."""
    classes = (("known", KNOWN, num_known), ("anomalous", ANOMALY, num_anomalous))
    absent = [f"{name} pixel (label {value})" for name, value, count in classes if not count]
    warnings.warn(
        f"no {' and no '.join(absent)} in the ground truth ({num_known} known, {num_anomalous} "
        "anomalous): AUROC, AP and FPR95 are NaN. Check the values in the label files and the "
        "label mapping of the dataset.",
        stacklevel=4,
    )
