"""From bytes to images and back to maps of their size, within a number of pixels."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from collections.abc import AsyncIterator
from io import BytesIO

import cv2
import numpy as np

from ood_seg.io.image_headers import read_header
from ood_seg.perception.core.decision import check_prediction
from ood_seg.perception.core.types import Prediction


class PixelBudget:
    """The pixels of all images that are decoded; whoever needs more waits for its turn."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._turn, self._freed = asyncio.Lock(), asyncio.Condition()

    @contextlib.asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Hold pixels, at most those of the budget, once they are free."""
        # In order of arrival, so that small images do not keep a large one waiting for ever.
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            self._free += pixels
            async with self._freed:
                self._freed.notify_all()


def pixels_stated(content: bytes, source: object) -> int | None:
    """Number of pixels in the header of an image file; None where Pillow is not installed.

    Raises:
        ValueError: see `read_header`.
    """
    header = read_header(BytesIO(content), source)
    return None if header is None else header.height * header.width


def reduced(image: np.ndarray, pixels: int) -> np.ndarray:
    """The image, or a smaller one of its shape that has at most so many pixels.

    Reduced and not cut into tiles: networks for driving are trained on images of about two million
    pixels, so that a finer image of the same scene is nearer to them when it is reduced, and each
    part is seen with its surroundings. The time of the model is bounded as well.

    Args:
        image: `(H, W, 3)` uint8.
        pixels: at least 1.
    """
    height, width = image.shape[:2]
    if height * width <= pixels:
        return image
    scale = (pixels / (height * width)) ** 0.5
    short = max(1, int(min(height, width) * scale))
    long = min(max(1, int(max(height, width) * scale)), pixels // short)
    size = (short, long) if width < height else (long, short)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def enlarged(prediction: Prediction, image: np.ndarray, size: tuple[int, int]) -> Prediction:
    """The prediction for a reduced image in the size of the image itself.

    Args:
        prediction: for `image`.
        image: what the model was given.
        size: height and width that are wanted.

    Returns:
        Labels of the nearest pixel, scores and probabilities interpolated linearly.

    Raises:
        ValueError: the prediction does not fit `image`, see `check_prediction`.
    """
    if image.shape[:2] == size:
        return prediction
    check_prediction(prediction, image.shape[:2], "image")
    probability = prediction.probability
    return Prediction(
        cv2.resize(prediction.labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT),
        cv2.resize(prediction.anomaly, size[::-1]),
        None if probability is None else cv2.resize(probability, size[::-1]),
    )


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library (glibc) keeps it for each thread."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
