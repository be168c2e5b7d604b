"""Component metrics of SegmentMeIfYouCan: is each anomaly found, is each alarm right.

Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS 2021 Datasets and
Benchmarks; what the paper leaves open (connectivity, the order of the steps, strict or not)
follows the benchmark's own code.

    scores > threshold, labels -> components of both (8-connected) -> shared pixels of each pair
    shared pixels -> match_components -> sIoU of each true, PPV of each predicted component
    these -> ComponentMetrics -> TP, FN, FP and F1 per sIoU threshold, means, table by size

With `K` a true component, `P(K)` all predicted components that touch it, and `A(K)` the pixels of
these on other true components:

    sIoU(K) = |K n P(K)| / |(K u P(K)) \\ A(K)|        PPV(P) = |P n all true components| / |P|

A predicted pixel outside `K` is either in `A(K)` or on no true component, so the denominator is
`|K|` plus the false pixels of the predicted components that touch `K`.

Two things differ from the benchmark's code, neither by an option: where an image has fewer pixels
outside anomalies than the smallest true component, that code ignores them all; and it reads its
threshold from scores binned per image, so that its binary masks may differ slightly from ours.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ood_seg.labels import IGNORE
from ood_seg.metrics.checks import above, checked_arrays
from ood_seg.metrics.overlaps import ImageComponents, MinimumSizes, match_components

TRACKS = {"anomaly": MinimumSizes(500, 100), "obstacle": MinimumSizes(50, 10)}

# As the benchmark computes them: the eighth is 0.6000000000000001, which 3/5 does not reach.
SIOU_THRESHOLDS = np.linspace(0.25, 0.75, 11)

# Lower edges of the table by size, in multiples of the smallest true component that counts.
_SIZE_STEPS = (1, 10, 100, 1000)


def component_metrics(
    scores: Any,
    labels: Any,
    *,
    threshold: float | None,
    track: str | tuple[int, int] = "anomaly",
    ignore_index: int = IGNORE,
) -> dict[str, Any]:
    """Component metrics of one image or of several, pooled over all components.

    Args:
        scores: score map `(H, W)`, or several: `(N, H, W)` or a sequence of maps of any sizes.
        labels: the same shapes.
        threshold: see `ComponentMetrics`, as are `track` and `ignore_index`.

    Returns:
        As `ComponentMetrics.compute`.

    Raises:
        ValueError: there are not as many score maps as label maps, or as `ComponentMetrics`.
        TypeError: as `ComponentMetrics`.

    Example:
        >>> labels = np.zeros((40, 40), np.uint8)
        >>> labels[10:30, 10:30] = 1
        >>> result = component_metrics(labels == 1, labels, threshold=None, track="obstacle")
        >>> result["siou"], result["ppv"], result["mean_f1"]
        (1.0, 1.0, 1.0)
    """
    metrics = ComponentMetrics(threshold=threshold, track=track, ignore_index=ignore_index)
    if getattr(scores, "ndim", None) == 2:
        scores, labels = [scores], [labels]
    if len(scores) != len(labels):
        raise ValueError(f"got {len(scores)} score maps but {len(labels)} label maps")
    for score_map, label_map in zip(scores, labels, strict=True):
        metrics.update(score_map, label_map)
    return metrics.compute()


class ComponentMetrics:
    """Sums up component metrics image by image, in constant memory.

    The published threshold is that of the best pixel F1 over the whole dataset, so compute it
    over all images first. A pixel is predicted anomalous where `score > threshold`,
    as in the benchmark; `numpy.nextafter(threshold, -inf)` includes pixels at the threshold.
    The result depends neither on the order of the updates nor on how they are divided among
    merged objects (up to rounding of the two means).

    Args:
        threshold: see above; None where only boolean masks are given.
        track: 'anomaly' (predicted components count from 500 pixels, true ones from 100),
            'obstacle' (50 and 10), or your own `(predicted, truth)` sizes.
        ignore_index: label of the pixels to leave out.

    Raises:
        ValueError: an unknown track, a negative size, or a threshold that is NaN.
    """

    def __init__(
        self,
        *,
        threshold: float | None,
        track: str | tuple[int, int] = "anomaly",
        ignore_index: int = IGNORE,
    ) -> None:
        if threshold is not None and np.isnan(threshold):
            raise ValueError(
                "threshold must be a number, got NaN; the best F1 has no threshold where the data "
                "hold no anomaly"
            )
        self.threshold = None if threshold is None else float(threshold)
        self.sizes = _checked_sizes(track)
        self.track = track if isinstance(track, str) else "{}/{} pixels".format(*self.sizes)
        self.ignore_index = ignore_index
        smallest = max(self.sizes.truth, 1)
        self.size_edges = np.array([smallest * step for step in _SIZE_STEPS])
        self._truths = np.zeros(len(_SIZE_STEPS), np.int64)
        self._siou_sums = np.zeros(len(_SIZE_STEPS))
        self._found = np.zeros((len(_SIZE_STEPS), SIOU_THRESHOLDS.size), np.int64)
        self._predicted = 0
        self._ppv_sum = 0.0
        self._false = np.zeros(SIOU_THRESHOLDS.size, np.int64)

    def update(self, scores: Any, labels: Any) -> None:
        """Add one image.

        Args:
            scores: anomaly scores `(H, W)`, higher means more anomalous; or a boolean mask, True
                where an anomaly is predicted, to which no threshold is applied.
            labels: `(H, W)`: 0 known, 1 anomaly, `ignore_index`.

        Raises:
            ValueError: not one image, shapes differ, a score is not finite, a label has another
                value, or scores came without a threshold.
            TypeError: scores or labels are not real numbers.
        """
        if np.ndim(labels) != 2:
            raise ValueError(
                f"scores and labels must be one image of shape (H, W), got {np.shape(labels)}"
            )
        is_mask = str(getattr(scores, "dtype", "")).endswith("bool")
        if self.threshold is None and not is_mask:
            raise ValueError(
                "scores need a threshold: give that of the best pixel F1 over the dataset, or "
                "pass a boolean mask"
            )
        shape = np.shape(labels)
        scores, labels = checked_arrays(scores, labels, self.ignore_index)
        mask = above(scores, 0.0 if is_mask else self.threshold).reshape(shape)
        self.add(
            match_components(
                mask, labels.reshape(shape), self.sizes, ignore_index=self.ignore_index
            )
        )

    def add(self, image: ImageComponents) -> None:
        """Add one image that `match_components` has compared, with the sizes of this object."""
        size_class = np.searchsorted(self.size_edges, image.truth_area, side="right") - 1
        np.add.at(self._truths, size_class, 1)
        np.add.at(self._siou_sums, size_class, image.siou)
        np.add.at(self._found, size_class, image.siou[:, None] >= SIOU_THRESHOLDS)
        self._predicted += image.ppv.size
        self._ppv_sum += float(image.ppv.sum())
        self._false += (image.ppv[:, None] < SIOU_THRESHOLDS).sum(axis=0)

    def merge(self, other: ComponentMetrics) -> None:
        """Add all components of `other`, which stays as it is.

        Raises:
            TypeError: `other` is not a `ComponentMetrics`.
            ValueError: its threshold, sizes or ignored label differ.
        """
        if not isinstance(other, ComponentMetrics):
            raise TypeError(f"merge expects a ComponentMetrics, got {type(other).__name__}")
        for name in ("threshold", "sizes", "ignore_index"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"only metrics with the same {name} can be merged, got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        self._truths += other._truths
        self._siou_sums += other._siou_sums
        self._found += other._found
        self._predicted += other._predicted
        self._ppv_sum += other._ppv_sum
        self._false += other._false

    def compute(self) -> dict[str, Any]:
        """Metrics over all components so far, fractions of 1; may be called again.

        Returns:
            `track`; `siou`, mean over true components, NaN with a warning where there is none;
            `ppv`, mean over predicted components, NaN where there is none; `by_threshold`, one
            `{threshold, tp, fn, fp, f1}` for each: a true component is found (tp) where its sIoU
            is at least the threshold and missed (fn) otherwise, a predicted one is false (fp)
            where its PPV is below it, and F1 = 2 tp / (2 tp + fn + fp), NaN for 0 / 0; `mean_f1`,
            the mean of these; `by_size`, one `{min_area, max_area, count, siou, found}` for each
            class of true components (`max_area` itself is excluded, None in the last; `found`
            counts those with an sIoU of at least 0.25).
        """
        num_truths = int(self._truths.sum())
        if not num_truths:
            warnings.warn(
                f"no true component of at least {self.sizes.truth} pixels in the ground truth: "
                "the mean sIoU is NaN. Check the label mapping of the dataset and the track.",
                stacklevel=2,
            )
        found = self._found.sum(axis=0)
        f1 = _ratio(2 * found, found + num_truths + self._false)
        by_threshold = [
            {"threshold": round(float(t), 2), "tp": tp, "fn": num_truths - tp, "fp": fp, "f1": f}
            for t, tp, fp, f in zip(
                SIOU_THRESHOLDS, found.tolist(), self._false.tolist(), f1.tolist(), strict=True
            )
        ]
        return {
            "track": self.track,
            "mean_f1": float(f1.mean()),
            "siou": float(_ratio(self._siou_sums.sum(), num_truths)),
            "ppv": float(_ratio(self._ppv_sum, self._predicted)),
            "by_threshold": by_threshold,
            "by_size": self._by_size(),
        }

    def _by_size(self) -> list[dict[str, Any]]:
        """The table by area of the true components."""
        edges = [*self.size_edges.tolist(), None]
        means = _ratio(self._siou_sums, self._truths)
        return [
            {
                "min_area": edges[row],
                "max_area": edges[row + 1],
                "count": int(self._truths[row]),
                "siou": float(means[row]),
                "found": int(self._found[row, 0]),
            }
            for row in range(len(_SIZE_STEPS))
        ]


def _checked_sizes(track: str | tuple[int, int]) -> MinimumSizes:
    """The minimum sizes of a track by name, or given as such."""
    if isinstance(track, str):
        if track not in TRACKS:
            names = ", ".join(repr(name) for name in TRACKS)
            raise ValueError(f"there is no track {track!r}; available: {names}")
        return TRACKS[track]
    sizes = MinimumSizes(*track)
    if min(sizes) < 0:
        raise ValueError(f"minimum sizes must not be negative, got {sizes}")
    return sizes


def _ratio(parts: Any, wholes: Any) -> np.ndarray:
    """Quotient, NaN for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(parts, wholes)
