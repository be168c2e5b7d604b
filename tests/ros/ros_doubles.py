"""A network without weights, messages without ROS, and CDR written by hand."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor

PALETTE = Palette(("road", "sky", "car"), ((128, 64, 128), (70, 130, 180), (0, 0, 142)))


class ColourSegmentor(Segmentor):
    """Labels by the blue channel, score = red channel - 100; a black image breaks it."""

    def __init__(self, *, calibrated: bool = True, **options: Any) -> None:
        self.calibrated = calibrated
        super().__init__(PALETTE, "Redness", {"fpr 5%": 100.0}, **options)

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray) -> Prediction:
        if not image.any():
            raise ValueError("the lens is covered")
        anomaly = image[..., 2].astype(np.float32) - 100
        return Prediction(image[..., 0] % 3, anomaly, self.probability(anomaly))

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        return np.clip((scores + 100) / 255, 0, 1).astype(np.float32) if self.calibrated else None


def street(*, seed: int = 0, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """A dark image, `(H, W, 3)` BGR, with a bright red object of 5x4 pixels at (6, 3)."""
    image = np.random.default_rng(seed).integers(1, 90, (*size, 3)).astype(np.uint8)
    image[3:7, 6:11, 2] = 230
    return image


def header(seconds: int = 1700000000, nanoseconds: int = 123456789, frame: str = "camera") -> Any:
    return SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame)


def raw(pixels: np.ndarray, encoding: str, *, padding: int = 0, **changes: Any) -> Any:
    """An Image message of any encoding; `padding` bytes end every row."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    fields = {
        "header": header(),
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": 0,
        "step": rows.shape[1],
        "data": rows.reshape(-1).tobytes(),
    }
    return SimpleNamespace(**{**fields, **changes})


def compressed(pixels: np.ndarray, kind: str = "png", text: str | None = None) -> Any:
    """A CompressedImage message of a BGR image."""
    data = cv2.imencode(f".{kind}", pixels)[1].tobytes()
    return SimpleNamespace(header=header(), format=text or kind, data=data)


class Cdr:
    """Plain CDR, little endian, as DDS sends it (OMG DDSI-RTPS 2.5, 10.2; CDR alignment)."""

    def __init__(self) -> None:
        self.body = b""

    def put(self, kind: str, *values: Any) -> Cdr:
        """Append numbers of a `struct` kind, each aligned to its size."""
        for value in values:
            self.body += b"\0" * (-len(self.body) % struct.calcsize(kind))
            self.body += struct.pack(f"<{kind}", value)
        return self

    def text(self, value: str) -> Cdr:
        content = value.encode() + b"\0"
        self.put("I", len(content))
        self.body += content
        return self

    def octets(self, content: bytes) -> Cdr:
        self.put("I", len(content))
        self.body += content
        return self

    def header(self, seconds: int, nanoseconds: int, frame: str) -> Cdr:
        return self.put("i", seconds).put("I", nanoseconds).text(frame)

    def bytes(self) -> bytes:
        return b"\0\1\0\0" + self.body
