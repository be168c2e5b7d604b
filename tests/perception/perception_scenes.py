"""Small frames, predictions and results for the tests of the perception path."""

import cv2
import numpy as np

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.types import Frame, Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor

PALETTE = Palette(("road", "sky"), ((128, 64, 128), (70, 130, 180)))


class Brightness(Segmentor):
    """Score: the blue channel. Label: 1 in the upper half, else 0."""

    def __init__(self, thresholds=None, **options):
        super().__init__(PALETTE, "Blue", thresholds or {}, **options)
        self.batches = []

    def predict(self, images):
        self.batches.append([image.shape[:2] for image in images])
        return [predict(image) for image in images]


def predict(image):
    """See `Brightness`."""
    upper = np.arange(len(image))[:, None] < len(image) // 2
    labels = np.broadcast_to(upper, image.shape[:2]).astype(np.uint8)
    return Prediction(labels, image[..., 0].astype(np.float32))


def decided(image, threshold, *, name="frame", index=0, **options):
    """Result of an image under `Brightness`."""
    decide = DecisionRule(threshold, **{"min_area": 1} | options)
    frame = Frame(image, name, index)
    return decide(frame, predict(image), palette=PALETTE, score_name="Blue")


def texture(height, width, seed=0):
    """Grey noise with structures of some pixels, `(H, W)` uint8: something to follow."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    low, high = blurred.min(), blurred.max()
    return np.rint((blurred - low) / (high - low) * 255).astype(np.uint8)


def grey_image(grey):
    """`(H, W)` uint8 as an image."""
    return np.dstack([grey] * 3)
