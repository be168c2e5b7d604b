"""Named evaluation protocols: how published tables of pixel metrics were computed.

All give 'auroc', 'ap' and 'fpr95' as fractions of 1, and expect one score map and one label map
per image: scores of any range (higher means more anomalous), labels 0 known, 1 anomaly, 255
ignored. On scores without ties and with thousands of anomalous pixels the pooled ones agree to
several digits; see docs/evaluation.md for how much each choice moves a result.

    >>> get_protocol("pebal").evaluate([([0.9, 0.2, 0.7], [1, 0, 0])])["auroc"]
    1.0
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics.checks import checked_arrays
from ood_seg.metrics.fpr_rules import fpr95_above, fpr95_interpolated, fpr95_nearest_recall
from ood_seg.metrics.pixel import PixelMetrics, SplitScores, split_scores
from ood_seg.metrics.rank_metrics import metrics_from_counts
from ood_seg.metrics.ranking import RankCounts, rank_anomalous
from ood_seg.spelling import did_you_mean

Images = Iterable[tuple[Any, Any]]

# Pixels that 'meta-ood' draws: of each class, and of both in their natural shares.
_BALANCED, _NATURAL = 1e5, 1e7

_NAN = {"auroc": float("nan"), "ap": float("nan"), "fpr95": float("nan")}


@dataclass(frozen=True)
class Protocol:
    """A way to compute metrics from the maps of a dataset.

    Attributes:
        name: as `get_protocol` knows it.
        description: one line for logs and reports.
        compute: the function behind `evaluate`.
        by_image: whether the metrics are means over the images instead of pooled.
    """

    name: str
    description: str
    compute: Callable[[Images], dict[str, float]]
    by_image: bool = False

    def evaluate(self, images: Images) -> dict[str, float]:
        """The metrics of a dataset.

        Args:
            images: pairs of scores and labels of one shape, tensors or arrays; read once.

        Returns:
            'auroc', 'ap', 'fpr95' as fractions of 1; those `by_image` add 'num_images' and
            'num_left_out'. NaN with a warning where a class has no pixel.

        Raises:
            ValueError: as `pixel_metrics`; for 'smiyc' and 'meta-ood' also scores out of range.
            TypeError: scores or labels are not real numbers.
        """
        return self.compute(images)


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; names those that exist.
    """
    if name not in PROTOCOLS:
        raise ValueError(
            f"there is no protocol {name!r}{did_you_mean(name, PROTOCOLS)}; available: "
            f"{', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]


def _pooled(images: Images) -> dict[str, float]:
    return _collected(images).compute()


def _fishyscapes(images: Images) -> dict[str, float]:
    metrics = PixelMetrics("exact")
    for scores, labels in images:
        known, anomalous, num_ignored = split_scores(scores, labels)
        metrics.add(
            SplitScores(known.astype(np.float32), anomalous.astype(np.float32), num_ignored)
        )
    return metrics.compute()


def _per_image(
    images: Images, rule: Callable[[RankCounts], float] | None = None
) -> dict[str, float]:
    """Means over the images that hold both classes; `rule` replaces our own for FPR95."""
    results, left_out = [], 0
    for scores, labels in images:
        counts = _counts_of_image(scores, labels)
        if not (counts.num_known and counts.anomalous.size):
            left_out += 1
            continue
        results.append(metrics_from_counts(counts))
        if rule is not None:
            results[-1]["fpr95"] = float(rule(counts))
    if not results:
        warnings.warn(
            f"none of {left_out} images holds both known and anomalous pixels: AUROC, AP and "
            "FPR95 are NaN",
            stacklevel=3,
        )
    means = {
        name: float(np.mean([result[name] for result in results])) if results else value
        for name, value in _NAN.items()
    }
    return {**means, "num_images": len(results), "num_left_out": left_out}


def _with_rule(rule: Callable[[RankCounts], float]) -> Callable[[Images], dict[str, float]]:
    """Pooled metrics with another rule for FPR95."""

    def compute(images: Images) -> dict[str, float]:
        collected = _collected(images)
        metrics = collected.compute()
        if not np.isnan(metrics["auroc"]):
            metrics["fpr95"] = float(rule(collected.rank_counts()))
        return metrics

    return compute


def _smiyc(images: Images) -> dict[str, float]:
    """Bins of each image between percentiles of its classes; a bin counts at its lower edge.

    The outermost edges lie beyond the valid scores by 1 % of their range, at least 0.01, as in
    the benchmark's code since commit 1c7804e; before, they were 0 and 1.

    Left out: the published curve may have one more point, inside the highest threshold if several
    images share it, which depends on how equal numbers happen to be sorted.
    """
    edges, known, anomalous = [np.zeros(0)], [np.zeros(0, int)], [np.zeros(0, int)]
    for scores, labels in images:
        scores, labels = checked_arrays(scores, labels, IGNORE)
        if scores.size and max(-scores.min(), scores.max()) > np.finfo(np.float16).max:
            raise ValueError(
                "the protocol 'smiyc' stores scores as float16, up to 65504; got "
                f"{scores.min():g} to {scores.max():g}: divide them first"
            )
        parts = [scores[labels == value].astype(np.float16) for value in (KNOWN, ANOMALY)]
        valid = np.concatenate(parts).astype(np.float64)
        if not valid.size:
            continue
        beyond = max(0.01 * np.ptp(valid), 0.01)
        shares = [np.linspace(0, 1, min(384, part.size)) for part in parts]
        quantiles = [np.quantile(p, q) for p, q in zip(parts, shares, strict=True) if p.size]
        ends = [valid.min() - beyond, valid.max() + beyond]
        limits = np.unique(np.concatenate([ends, *quantiles]))
        edges.append(limits[:-1])
        known.append(np.histogram(parts[0], limits)[0])
        anomalous.append(np.histogram(parts[1], limits)[0])
    lower = np.concatenate(edges)
    order = np.argsort(lower)[::-1]
    last = np.flatnonzero(np.diff(lower[order], append=-np.inf))
    tp = np.cumsum(np.concatenate(anomalous)[order])[last]
    fp = np.cumsum(np.concatenate(known)[order])[last]
    return _metrics_of_steps(fp, tp)


def _metrics_of_steps(fp: np.ndarray, tp: np.ndarray) -> dict[str, float]:
    """Metrics of cumulative counts by falling threshold; the counts of a bin come together."""
    if not tp.size or not tp[-1] or not fp[-1]:
        warnings.warn("a class has no pixel: AUROC, AP and FPR95 are NaN", stacklevel=4)
        return dict(_NAN)
    fp, tp = np.concatenate([[0], fp]), np.concatenate([[0], tp])
    fpr, tpr = fp / fp[-1], tp / tp[-1]
    precision = tp / np.maximum(tp + fp, 1)
    return {
        "auroc": float(np.diff(fp) @ ((tpr[1:] + tpr[:-1]) / 2) / fp[-1]),
        "ap": float(np.diff(tp) @ precision[1:] / tp[-1]),
        "fpr95": float(fpr[np.searchsorted(tpr, 0.95)]),
    }


def _meta_ood(images: Images) -> dict[str, float]:
    """100 bins over [0, 1]; AUROC and FPR95 of 1e5 pixels per class, AP of 1e7 in all."""
    totals = np.zeros((2, 100), np.int64)
    for scores, labels in images:
        scores, labels = checked_arrays(scores, labels, IGNORE)
        if scores.size and not 0 <= scores.min() <= scores.max() <= 1:
            raise ValueError(
                "the protocol 'meta-ood' expects scores in [0, 1] (entropy divided by the log of "
                f"the number of classes), got {scores.min():g} to {scores.max():g}"
            )
        for label in (KNOWN, ANOMALY):
            totals[label] += np.histogram(scores[labels == label], 100, (0, 1))[0]
    if not totals.any(1).all():
        return _metrics_of_steps(*totals.cumsum(1))
    shares = totals / totals.sum(1, keepdims=True)
    classes = totals.sum(1) / totals.sum()
    balanced, natural = (
        (shares * size[:, None]).astype(np.int64)[:, ::-1].cumsum(1)
        for size in (np.full(2, _BALANCED), _NATURAL * classes)
    )
    metrics = {**_metrics_of_steps(*balanced), "ap": _metrics_of_steps(*natural)["ap"]}
    # scikit-learn's curve begins at (0, 0), has no empty bins and no point between equal steps.
    fp, tp = balanced[:, np.diff(balanced.sum(0), prepend=0) > 0]
    bends = (np.diff([fp, tp], 2) != 0).any(0)
    corner = np.concatenate([[True], bends, [True]])[: fp.size]
    fpr, tpr = (np.append(0.0, row[corner] / row[-1]) for row in (fp, tp))
    return {**metrics, "fpr95": float(fpr[np.abs(tpr - 0.95).argmin()])}


def _collected(images: Images) -> PixelMetrics:
    metrics = PixelMetrics("exact")
    for scores, labels in images:
        metrics.update(scores, labels)
    return metrics


def _counts_of_image(scores: Any, labels: Any) -> RankCounts:
    scores, labels = checked_arrays(scores, labels, IGNORE)
    known = scores[labels == KNOWN]
    return rank_anomalous([known], scores[labels == ANOMALY], known.size)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "pooled",
            "all pixels of all images together; FPR95 at the first threshold with TPR >= 95 %",
            _pooled,
        ),
        Protocol(
            "per-image",
            "mean over the images that hold both classes; FPR95 as in 'pooled'",
            _per_image,
            by_image=True,
        ),
        Protocol(
            "anomaly-seg",
            "anomaly-seg, RPL's sample-wise option: mean over the images that hold both classes; "
            "FPR95 as in 'pebal'",
            partial(_per_image, rule=fpr95_nearest_recall),
            by_image=True,
        ),
        Protocol(
            "fishyscapes",
            "Fishyscapes: pooled, scores as float32; FPR95 at the first threshold with TPR >= 95 %",
            _fishyscapes,
        ),
        Protocol(
            "smiyc",
            "SegmentMeIfYouCan: scores as float16, 768 percentile bins per image, merged; FPR95 at "
            "the first bin with TPR >= 95 %",
            _smiyc,
        ),
        Protocol(
            "pebal",
            "PEBAL, Balanced Energy, RPL: pooled; FPR95 at the recall nearest to 95 %, largest FPR "
            "of that recall",
            _with_rule(fpr95_nearest_recall),
        ),
        Protocol(
            "densehybrid",
            "DenseHybrid: pooled; FPR95 at the first ROC corner with TPR > 95 %",
            _with_rule(fpr95_above),
        ),
        Protocol(
            "sml",
            "Standardized Max Logits: pooled; FPR95 interpolated on the ROC",
            _with_rule(fpr95_interpolated),
        ),
        Protocol(
            "meta-ood",
            "Meta-OoD: 100 bins over [0, 1]; AUROC and FPR95 (nearest TPR) of equal classes, AP of "
            "the natural ones",
            _meta_ood,
        ),
    )
}
