"""Connected components of a predicted and a true mask, and how they overlap.

Every measure is computed from one table of the pixels that each pair of components shares. There
is no mask for each component, so that a noisy map with 100 000 components costs no more than a
clean one.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ood_seg.labels import ANOMALY, IGNORE


class MinimumSizes(NamedTuple):
    """Areas in pixels from which components count.

    Attributes:
        predicted: smaller predicted components are removed from the mask.
        truth: the pixels of smaller true components are ignored.
    """

    predicted: int
    truth: int


class ImageComponents(NamedTuple):
    """The components of one image that count.

    Attributes:
        truth_area: pixels of each true component, shape `(T,)`.
        siou: its adjusted intersection over union with the prediction, in [0, 1], shape `(T,)`.
        ppv: share of each predicted component on true ones, in [0, 1], shape `(P,)`.
    """

    truth_area: np.ndarray
    siou: np.ndarray
    ppv: np.ndarray


def match_components(
    mask: np.ndarray, labels: np.ndarray, sizes: MinimumSizes, *, ignore_index: int = IGNORE
) -> ImageComponents:
    """Compare the components of a predicted mask with those of the ground truth.

    In the order of the benchmark: ignored pixels leave the mask, which may cut a component in
    two; components are labelled; small predicted ones go; small true ones are ignored with the
    predicted pixels on them, and a predicted component without any other pixel is removed.

    Args:
        mask: boolean `(H, W)`, True where an anomaly is predicted; or integers, 0 where none is,
            else the number of the predicted component, which is taken as it is.
        labels: `(H, W)`: 0 known, 1 anomaly, `ignore_index`.
        sizes: smallest components that count.
        ignore_index: label of the pixels to leave out.
    """
    truth, truth_area = label_components(labels == ANOMALY)
    valid = labels != ignore_index
    if mask.dtype == bool:
        predicted, predicted_area = label_components(mask & valid)
    else:
        predicted = np.where(valid, mask, 0)
        predicted_area = np.bincount(predicted.reshape(-1))[1:]
    of_truth, of_predicted, shared = overlaps(truth, predicted)
    large_truth = truth_area >= sizes.truth
    large_predicted = predicted_area >= max(sizes.predicted, 1)
    on_small = ~large_truth[of_truth]
    predicted_area = predicted_area - _sums(
        of_predicted[on_small], shared[on_small], predicted_area
    )
    large_predicted &= predicted_area > 0

    counted = ~on_small & large_predicted[of_predicted]
    of_truth, of_predicted, shared = of_truth[counted], of_predicted[counted], shared[counted]
    correct = _sums(of_predicted, shared, predicted_area)
    false_around = _sums(of_truth, (predicted_area - correct)[of_predicted], truth_area)
    siou = _sums(of_truth, shared, truth_area) / (truth_area + false_around)
    return ImageComponents(
        truth_area[large_truth],
        siou[large_truth],
        correct[large_predicted] / predicted_area[large_predicted],
    )


def label_components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label map `(H, W)` of the 8-connected components, 1 to C (0 elsewhere), and areas `(C,)`."""
    mask = np.ascontiguousarray(mask, bool)
    count, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    # Counting takes longer than labelling, so that a sparse mask is counted without its background.
    sparse = np.count_nonzero(mask) * 4 < mask.size
    counted = components[mask] if sparse else components.reshape(-1)
    return components, np.bincount(counted, minlength=count)[1:]


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of components that share pixels: number in `first`, in `second` (from 0), pixels."""
    both = np.flatnonzero((first > 0) & (second > 0))
    columns = int(second.max(initial=0)) + 1
    pairs = first.reshape(-1)[both].astype(np.int64) * columns + second.reshape(-1)[both]
    # Neighbours in a row mostly belong to one pair: sorting runs is far cheaper than pixels.
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    pairs, runs = np.unique(pairs[starts], return_inverse=True)
    shared = np.bincount(runs, np.diff(starts, append=both.size), minlength=pairs.size)
    return pairs // columns - 1, pairs % columns - 1, shared.astype(np.int64)


def _sums(groups: np.ndarray, values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Sum of the integer `values` of each group; as many groups as `like` has items."""
    # bincount adds in double precision, exact far beyond the pixels of any image.
    return np.bincount(groups, values, minlength=like.size).astype(np.int64)
