"""Pasting of outlier objects into labelled scenes: pure functions on arrays.

Images are `(H, W, 3)` arrays in any channel order (BGR in the data pipelines), labels `(H, W)`
integer arrays, masks `(h, w)` boolean arrays that mark the object's pixels in a crop. All random
numbers are drawn from a `numpy.random.Generator` that the caller passes in.

Pasting whole objects at native size, at uniform positions and with hard edges (a pasted pixel
equals its source pixel) is how PEBAL creates outliers (Tian et al., "Pixel-wise Energy-biased
Abstention Learning", ECCV 2022, section 4.2); everything else is an option. `paste_object` always
copies: the functions of `blending` return the scene or the object that is then pasted.
"""

from ood_seg.pasting.blending import (
    cloned_patch,
    feathered_patch,
    recoloured_patch,
    shadowed_scene,
)
from ood_seg.pasting.objects import (
    OutlierObject,
    crop_object,
    flip_object,
    paste_object,
    random_position,
    resize_object,
    scale_object,
)
from ood_seg.pasting.placement import distance_factor, random_ground_row, standing_position

__all__ = [
    "OutlierObject",
    "cloned_patch",
    "crop_object",
    "distance_factor",
    "feathered_patch",
    "flip_object",
    "paste_object",
    "random_ground_row",
    "random_position",
    "recoloured_patch",
    "resize_object",
    "scale_object",
    "shadowed_scene",
    "standing_position",
]
