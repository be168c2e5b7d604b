"""A segmentor without a network: the score of a pixel is its blue value / 255."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor

PALETTE = Palette(("road", "sky"), ((128, 64, 128), (70, 130, 180)))


class FakeSegmentor(Segmentor):
    """Labels are 1 where a pixel's green is 128 or more; `seconds` a batch; counts its batches.

    After `most` batches it hangs.
    """

    def __init__(
        self, *, seconds: float = 0.0, most: int = 10**9, operating_point=0.5, **options
    ) -> None:
        super().__init__(PALETTE, "Blue", {}, operating_point=operating_point, **options)
        self.seconds, self.most = seconds, most
        self.batches: list[int] = []

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        self.batches.append(len(images))
        time.sleep(self.seconds if len(self.batches) <= self.most else 3600)
        for image in images:
            # Stands for a network whose scores overflow.
            if image[0, 0, 2] == 255:
                raise ValueError("scores are NaN")
        return [
            Prediction(
                (image[..., 1] >= 128).astype(np.uint8), image[..., 0].astype(np.float32) / 255
            )
            for image in images
        ]


def random_image(seed: int = 0, height: int = 37, width: int = 53) -> np.ndarray:
    """Random, but its first pixel is not the one that the fake network overflows at."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
