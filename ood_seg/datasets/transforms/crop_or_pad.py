"""Random crops of one size, padded evenly where the scene is smaller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ood_seg.labels import IGNORE


@TRANSFORMS.register_module()
class CropOrPad(BaseTransform):
    """Crop at a random place where a scene is larger, pad around its centre where it is smaller.

    Height and width are independent. Odd padding puts the extra row below, the extra column to
    the right. This is the crop of PEBAL's released code, which pads with 0 after normalisation:
    `pad_value` is the mean colour then. mmseg's `RandomCrop` and padding differ in that they pad
    right and below only.

    Required keys: img, gt_seg_map. Modified keys: img, gt_seg_map, img_shape.

    Args:
        size: height and width of the result.
        pad_value: colour of the padding, in the channel order of the image (BGR in the
            pipelines); rounded to integers for uint8 images.
        ignore_index: label of the padding.
        overrun: let a crop begin up to this many pixels too far down or right, and pad what is
            missing. 0 is correct; 1 is what the released code does by an inclusive upper bound.

    Raises:
        ValueError: for sizes below 1, a negative `overrun`, or a colour of other than 3 numbers.
    """

    def __init__(
        self,
        size: tuple[int, int],
        pad_value: Sequence[float],
        ignore_index: int = IGNORE,
        overrun: int = 0,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be (height, width), both at least 1, got {size}")
        if len(pad_value) != 3:
            raise ValueError(f"pad_value must be one number a channel, 3 in all, got {pad_value}")
        if overrun < 0:
            raise ValueError(f"overrun must not be negative, got {overrun}")
        self.size = tuple(size)
        self.pad_value = tuple(pad_value)
        self.ignore_index = ignore_index
        self.overrun = overrun

    def transform(self, results: dict) -> dict:
        """Crop and pad image and labels together.

        Raises:
            ValueError: image and labels differ in size.
        """
        image, labels = results["img"], results["gt_seg_map"]
        if image.shape[:2] != labels.shape:
            raise ValueError(
                f"image and labels must be equally large, got {image.shape[:2]} and {labels.shape}"
            )
        window = tuple(
            self._window(old, new) for old, new in zip(labels.shape, self.size, strict=True)
        )
        image, labels = image[window], labels[window]
        results["img_shape"] = self.size
        if labels.shape == self.size:
            results["img"], results["gt_seg_map"] = image.copy(), labels.copy()
            return results
        colour = np.asarray(self.pad_value)
        if np.issubdtype(image.dtype, np.integer):
            colour = colour.round()
        padded_image = np.empty((*self.size, 3), image.dtype)
        padded_image[:] = colour
        padded_labels = np.full(self.size, self.ignore_index, labels.dtype)
        place = tuple(
            slice((new - old) // 2, (new - old) // 2 + old)
            for old, new in zip(labels.shape, self.size, strict=True)
        )
        padded_image[place], padded_labels[place] = image, labels
        results["img"], results["gt_seg_map"] = padded_image, padded_labels
        return results

    def _window(self, old: int, new: int) -> slice:
        """Draw which part of a side of `old` pixels stays, at most `new` of them."""
        start = np.random.randint(old - new + self.overrun + 1) if old > new else 0
        return slice(start, start + new)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, pad_value={self.pad_value}, "
            f"ignore_index={self.ignore_index}, overrun={self.overrun})"
        )
