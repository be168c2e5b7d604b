"""Images of any sizes as batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ood_seg.io.images import checked_image
from ood_seg.perception.core.types import Prediction


def predict_by_size(
    images: Sequence[np.ndarray],
    predict_batch: Callable[[list[np.ndarray]], Sequence[Prediction]],
) -> list[Prediction]:
    """Predict images of any sizes, those of equal size as one batch.

    Args:
        images: as for `Segmentor.predict`.
        predict_batch: predicts images of one size.

    Returns:
        A prediction for each image, in their order.

    Raises:
        ValueError: an array is not an image; see `checked_image`.
    """
    images = [checked_image(image) for image in images]
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(index)
    found: dict[int, Prediction] = {}
    for indices in by_size.values():
        batch = predict_batch([images[index] for index in indices])
        found.update(zip(indices, batch, strict=True))
    return [found[index] for index in range(len(images))]
