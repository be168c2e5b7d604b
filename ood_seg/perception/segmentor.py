"""The one face of all runtimes: torch, ONNX Runtime and OpenVINO models are used alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ood_seg.perception.types import Palette, Prediction


class Segmentor(ABC):
    """A network that gives labels and anomaly scores; subclasses say how.

    Attributes:
        palette: names and colours of the known classes.
        score_name: name of its anomaly score, such as `Energy`.
        thresholds: score at each named operating point; empty without a calibration.
    """

    palette: Palette
    score_name: str
    thresholds: dict[str, float]

    @abstractmethod
    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of one size run as one batch.

        Raises:
            ValueError: an array is no such image, or a score is not finite.
        """
