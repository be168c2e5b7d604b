"""Which size of an image counts as its original one."""

from __future__ import annotations

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TakeSizeAsOriginal(BaseTransform):
    """Declare the current size of the image its original size.

    mmseg resizes predictions to `ori_shape` before they are compared. Where labels were resized
    together with the image, such as scenes that get objects pasted at a common size, both must
    stay at that size; this transform is placed after the resize for that purpose.

    Required keys: img. Modified keys: ori_shape.
    """

    def transform(self, results: dict) -> dict:
        """Set `ori_shape` to the image's height and width."""
        results["ori_shape"] = results["img"].shape[:2]
        return results
