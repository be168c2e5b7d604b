"""Resamples of images, and the pixel metrics of all of them at once.

A resample draws images with replacement, so it is a integer weight for each image's
histogram, and the counts of R resamples are one matrix product for each block of bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ood_seg.metrics.histogram import EXACT_BINS, ScoreHistogram, clusters

# Numbers in one work array: 8 MiB of float64, of which some eight live at a time.
_BLOCK = 2**20


def draw_weights(
    histograms: Sequence[ScoreHistogram], samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Number of times each image is in each resample, and number of resamples drawn again.

    Args:
        histograms: one per image; together they hold both classes.
        samples: resamples R.
        rng: draws them.

    Returns:
        int64 `(R, n)`, each row of sum n and with both classes; number of rows rejected.
    """
    n = len(histograms)
    known = np.array([part.num_known > 0 for part in histograms])
    anomalous = np.array([part.num_anomalous > 0 for part in histograms])
    kept, missing, redrawn = [], samples, 0
    while missing:
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=missing)
        valid = ((drawn @ known) > 0) & ((drawn @ anomalous) > 0)
        kept.append(drawn[valid])
        missing -= len(kept[-1])
        redrawn += int(np.count_nonzero(~valid))
    return np.concatenate(kept), redrawn


def resampled_metrics(
    histograms: Sequence[ScoreHistogram], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """AUROC, AP, FPR95 and best F1 of weighted sums of histograms; definitions as elsewhere.

    Args:
        histograms: one per image, n of them.
        weights: integers `(R, n)`, how often image i counts in resample r.

    Returns:
        `{metric: float64 (R,)}`; NaN where a resample lacks a class.
    """
    weights = np.asarray(weights, np.float64)  # counts below 2**53 stay exact
    num_known = weights @ np.array([part.num_known for part in histograms], np.float64)
    num_anomalous = weights @ np.array([part.num_anomalous for part in histograms], np.float64)
    positives, negatives = np.zeros((2, len(weights), 1))
    below_sum, precision_sum, best_f1 = np.zeros((3, len(weights)))
    known_pixels = np.maximum(num_known, 1)[:, None]
    fpr95 = np.full(len(weights), np.nan)
    for known, anomalous in _blocks(histograms, len(weights)):
        known, anomalous = weights @ known, weights @ anomalous
        true_positives = positives + np.cumsum(anomalous, axis=1)
        false_positives = negatives + np.cumsum(known, axis=1)
        passed = true_positives + false_positives
        # A known pixel of the same bin counts one half.
        below = (num_known[:, None] - false_positives + known / 2) / known_pixels
        below_sum += np.sum(anomalous * below, axis=1)
        precision_sum += np.sum(anomalous * true_positives / np.maximum(passed, 1), axis=1)
        f1 = 2 * true_positives / np.maximum(passed + num_anomalous[:, None], 1)
        best_f1 = np.maximum(best_f1, f1.max(axis=1))
        enough = 20 * true_positives >= 19 * num_anomalous[:, None]
        first = np.flatnonzero(np.isnan(fpr95) & enough.any(axis=1))
        fpr95[first] = false_positives[first, enough[first].argmax(axis=1)]
        positives, negatives = true_positives[:, -1:], false_positives[:, -1:]
    results = {
        "auroc": below_sum / np.maximum(num_anomalous, 1),
        "ap": precision_sum / np.maximum(num_anomalous, 1),
        "fpr95": fpr95 / np.maximum(num_known, 1),
        "best_f1": best_f1,
    }
    defined = (num_known > 0) & (num_anomalous > 0)
    return {name: np.where(defined, values, np.nan) for name, values in results.items()}


def _blocks(
    histograms: Sequence[ScoreHistogram], rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Dense counts (n, G) of known and of anomalous pixels, by groups of bins, highest first.

    All four metrics change only at bins with anomalous pixels; the bins between two such bins
    hold known pixels alone, whose order does not matter, and form one group.
    """
    n = len(histograms)
    image = np.repeat(np.arange(n), [part.lowest.size for part in histograms])
    known = np.concatenate([part.known for part in histograms])
    anomalous = np.concatenate([part.anomalous for part in histograms])
    bins = _common_bins(histograms, known, anomalous)
    if not bins.size:
        return
    holds = np.zeros(int(bins.max()) + 1, bool)
    holds[bins[anomalous > 0]] = True
    group = np.cumsum(holds | np.concatenate([[True], holds[:-1]])) - 1
    group = group[-1] - group[bins]
    order = np.argsort(group, kind="stable")
    image, known, anomalous, group = (part[order] for part in (image, known, anomalous, group))
    groups = int(group[-1]) + 1
    width = min(groups, max(1, _BLOCK // max(rows, n)))
    for start in range(0, groups, width):
        part = slice(*np.searchsorted(group, [start, start + width]))
        cells = image[part] * width + group[part] - start
        dense_known, dense_anomalous = (
            np.bincount(cells, weights=counts[part], minlength=n * width).reshape(n, width)
            for counts in (known, anomalous)
        )
        yield dense_known, dense_anomalous


def _common_bins(
    histograms: Sequence[ScoreHistogram], known: np.ndarray, anomalous: np.ndarray
) -> np.ndarray:
    """Number of each bin of all images, ascending with the score: equal scores share a number.

    Where the images have too many scores together, neighbours that rank alike in the pool of all
    images share one as well.
    """
    scores = np.concatenate([part.lowest for part in histograms])
    distinct, bins = np.unique(scores, return_inverse=True)
    if distinct.size <= EXACT_BINS:
        return bins
    from_top = np.cumsum(np.bincount(bins, known)[::-1])
    from_bottom = np.cumsum(np.bincount(bins, anomalous))
    begins = np.zeros(distinct.size + 1, bool)
    begins[clusters(from_bottom)[0]] = True
    begins[distinct.size - clusters(from_top)[0]] = True  # above the highest score of a cluster
    return np.cumsum(begins)[bins]
