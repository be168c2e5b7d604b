"""Saliency and mask models in ONNX that the user names: an image in, maps out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ood_seg.refinement.sources import checked_saliency
from ood_seg.runtimes import open_runtime


class ImageModel:
    """A network from an RGB image to maps; its first output counts.

    Args:
        path: `.onnx` file with one input `(1, 3, H, W)` float32. Where H and W are fixed, images
            are brought to them, else to `side`; maps are brought back to the size of the image.
        mean, std: the input is `(pixel - mean) / std` of pixels 0..255; one number or three, for
            red, green and blue.
        side: height and width of the input where the file leaves them open.
        what: the maps are, for the messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no ONNX model, or has another input.
    """

    def __init__(
        self, path: Path, *, mean: Sequence[float], std: Sequence[float], side: int, what: str
    ) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{what}: model {path} does not exist")
        self._run = open_runtime(path, "onnxruntime")
        inputs = self._run.signature.inputs
        kinds = [f"{one.kind} {list(one.shape)}" for one in inputs.values()]
        first = next(iter(inputs.values()))
        is_image = first.kind == "float32" and first.rank == 4 and first.shape[1] in (3, 0)
        if len(inputs) != 1 or not is_image:
            raise ValueError(
                f"{what}: {path}: expected one input float32 (1, 3, H, W), got {', '.join(kinds)} "
                "(0: left open)"
            )
        self._path, self._what = path, what
        self._size = (first.shape[2] or side, first.shape[3] or side)
        self._mean = np.asarray(mean, np.float32)
        self._std = np.asarray(std, np.float32)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Maps `(N, H, W)` float32 of an image `(H, W, 3)` uint8 BGR, at its size.

        Raises:
            ValueError: the model cannot be run, or gives no maps.
        """
        small = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA)
        values = (small[..., ::-1].astype(np.float32) - self._mean) / self._std
        try:
            outputs = self._run(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))
        except Exception as error:  # the errors of the runtimes have no common base class
            raise ValueError(f"{self._what}: {self._path} cannot be run: {error}") from error
        name, maps = next(iter(outputs.items()))
        maps = np.asarray(maps)
        if maps.ndim not in (3, 4) or len(maps) != 1 or maps.dtype.kind != "f":
            raise ValueError(
                f"{self._what}: {self._path}: output {name}: expected float maps (1, N, H, W), got "
                f"{maps.shape} of {maps.dtype}"
            )
        maps = maps.reshape(-1, *maps.shape[-2:]).astype(np.float32, copy=False)
        size = image.shape[1::-1]
        return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in maps])


def saliency_of(model: ImageModel, image: np.ndarray, origin: str) -> np.ndarray:
    """Saliency `(H, W)`, 0 to 1; a ValueError where the model gives several or other maps."""
    maps = model(image)
    if len(maps) != 1:
        raise ValueError(f"{origin}: expected one saliency map, got {len(maps)} maps")
    return checked_saliency(maps[0], origin)
