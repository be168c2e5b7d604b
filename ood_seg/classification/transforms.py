"""Pipeline transforms of the image-level datasets."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from mmseg.registry import TRANSFORMS

from ood_seg.io.images import read_image

_META = ("img_path", "split", "ori_shape")


@TRANSFORMS.register_module()
class LoadImageOfClass(BaseTransform):
    """Loads the image of a sample; grey ones get three equal channels.

    Args:
        resize: height and width to resize to, without keeping the aspect, by averaging over the
            area of each new pixel; None: the image must have `size`.
        size: height and width that the network expects.

    Raises:
        ValueError: the image cannot be read, or has another size and there is no `resize`.
    """

    def __init__(self, size: int = 32, *, resize: bool = False) -> None:
        self.size, self.resize = size, resize

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img`, `(size, size, 3)` uint8 BGR, and `ori_shape`."""
        image = results.get("img")
        if image is None:
            image = read_image(results["img_path"], grey_ok=True)
        results["ori_shape"] = image.shape[:2]
        if image.shape[:2] != (self.size, self.size):
            if not self.resize:
                raise ValueError(
                    f"image {results['img_path']}: expected {self.size}x{self.size}, got "
                    f"{image.shape[0]}x{image.shape[1]} (height x width); "
                    "LoadImageOfClass(resize=True) resizes"
                )
            image = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)
        results["img"] = image
        return results


@TRANSFORMS.register_module()
class CropPaddedAndFlip(BaseTransform):
    """A random crop of the image with a black border, and a flip left to right half of the time.

    The augmentation of all published CIFAR recipes. Draws from NumPy's global generator.

    Args:
        padding: width of the border in pixels; the crop has the size of the image.
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = padding

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace `img`."""
        image = results["img"]
        height, width = image.shape[:2]
        border = self.padding
        padded = np.pad(image, ((border, border), (border, border), (0, 0)))
        top, left = np.random.randint(2 * border + 1, size=2)
        image = padded[top : top + height, left : left + width]
        results["img"] = image[:, ::-1] if np.random.randint(2) else image
        return results


@TRANSFORMS.register_module()
class PackImageOfClass(BaseTransform):
    """Packs a sample: `inputs (3, H, W)` uint8 and `data_samples` with `gt_label`."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the packed sample; its metainfo has `img_path`, `split` and `ori_shape`."""
        image = np.ascontiguousarray(results["img"].transpose(2, 0, 1))
        sample = BaseDataElement(metainfo={key: results[key] for key in _META})
        sample.gt_label = torch.tensor(results["gt_label"])
        return {"inputs": torch.from_numpy(image), "data_samples": sample}
