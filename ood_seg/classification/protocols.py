"""Protocols of image-level tables, all computed by the metrics of the core.

Metrics by name, fractions of 1. Anomalies are positive and the project's rules hold, unless the
name says otherwise:

    auroc, ap, fpr95       anomaly positive
    ap_known               average precision with the known class positive
    fpr95_known            share of outliers accepted where 95 % of the known images are
    detection_error        smallest mean of the two error rates over all thresholds
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ood_seg.labels import ANOMALY, KNOWN
from ood_seg.metrics.pixel import metrics_from_scores
from ood_seg.metrics.protocols import get_protocol as get_pixel_protocol
from ood_seg.metrics.rank_metrics import detection_error
from ood_seg.metrics.ranking import rank_anomalous
from ood_seg.spelling import did_you_mean

_DRAWS, _RATIO = 10, 5


@dataclass(frozen=True)
class ImageProtocol:
    """A way to compute the metrics of one set of outlier images.

    Attributes:
        name: as `get_image_protocol` knows it.
        description: one line for logs and reports.
        compute: scores of known and of outlier images, `(K,)` and `(A,)`, to metrics.
    """

    name: str
    description: str
    compute: Callable[[np.ndarray, np.ndarray], dict[str, float]]


def get_image_protocol(name: str) -> ImageProtocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; the known ones are listed.
    """
    if name not in IMAGE_PROTOCOLS:
        raise ValueError(
            f"there is no image-level protocol {name!r}{did_you_mean(name, IMAGE_PROTOCOLS)}; "
            f"available: {', '.join(IMAGE_PROTOCOLS)}"
        )
    return IMAGE_PROTOCOLS[name]


def _pooled(known: np.ndarray, outliers: np.ndarray) -> dict[str, float]:
    metrics = metrics_from_scores(known, outliers)
    reverse = metrics_from_scores(-outliers, -known)
    counts = rank_anomalous([known], outliers, known.size)
    return {
        **metrics,
        "ap_known": reverse["ap"],
        "fpr95_known": reverse["fpr95"],
        "detection_error": detection_error(counts),
    }


def _energy_ood(known: np.ndarray, outliers: np.ndarray) -> dict[str, float]:
    size = min(max(len(known) // _RATIO, 1), len(outliers))
    random = np.random.default_rng(0)
    labels = np.repeat([KNOWN, ANOMALY], [size, len(known)])
    draws = []
    for _ in range(_DRAWS):
        drawn = random.choice(outliers, size, replace=False)
        scores = -np.concatenate([drawn, known])
        draws.append(get_pixel_protocol("pebal").evaluate([(scores, labels)]))
    mean = {name: float(np.mean([one[name] for one in draws])) for name in draws[0]}
    return {"auroc": mean["auroc"], "ap_known": mean["ap"], "fpr95_known": mean["fpr95"]}


def _scood(known: np.ndarray, outliers: np.ndarray) -> dict[str, float]:
    metrics = _pooled(known, outliers)
    return {name: metrics[name] for name in ("auroc", "ap", "ap_known", "fpr95_known")}


IMAGE_PROTOCOLS = {
    one.name: one
    for one in (
        ImageProtocol(
            "pooled",
            "all images together; FPR95 at the first threshold with TPR >= 95 %",
            _pooled,
        ),
        ImageProtocol(
            "energy_ood",
            "Energy-based OOD detection: known positive; mean of ten draws of outliers, one for "
            "five known images; FPR95 at the recall nearest to 95 %",
            _energy_ood,
        ),
        ImageProtocol(
            "sc-ood",
            "SC-OOD: images of a listed set that show a known class count as known; FPR95 with "
            "the known class positive, at the first threshold with TPR >= 95 %",
            _scood,
        ),
    )
}
