"""Objects and their pasting into scenes: cutting out, resizing, flipping, hard edges."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ood_seg.labels import OUTLIER


class OutlierObject(NamedTuple):
    """An object cut out of its image.

    Attributes:
        image: `(h, w, 3)` uint8, the crop around the object.
        mask: `(h, w)` bool, true on the pixels of the object.
    """

    image: np.ndarray
    mask: np.ndarray


def crop_object(image: np.ndarray, mask: np.ndarray) -> OutlierObject:
    """Cut the bounding box of `mask` out of an image.

    Args:
        image: `(H, W, 3)`.
        mask: `(H, W)` bool with at least one true pixel.

    Returns:
        Copies of the crop and its mask.

    Raises:
        ValueError: the mask is empty or differs from the image in size.
        TypeError: the mask is not boolean.
    """
    check_object(image, mask)
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return OutlierObject(image[box].copy(), mask[box].copy())


def flip_object(patch: np.ndarray, mask: np.ndarray) -> OutlierObject:
    """Mirror an object horizontally.

    Args:
        patch: `(h, w, 3)`.
        mask: `(h, w)` bool.

    Returns:
        The mirrored object, a copy.

    Raises:
        ValueError, TypeError: as `crop_object`.
    """
    check_object(patch, mask)
    return OutlierObject(patch[:, ::-1].copy(), mask[:, ::-1].copy())


def resize_object(patch: np.ndarray, mask: np.ndarray, height: int, width: int) -> OutlierObject:
    """Resize an object: area averaging when it shrinks, linear interpolation when it grows.

    A pixel belongs to the resized mask where the object covers at least half of it. An object too
    thin for that keeps the pixels with the largest coverage, so the mask is never empty.

    Args:
        patch: `(h, w, 3)`.
        mask: `(h, w)` bool with at least one true pixel.
        height: new height in pixels, at least 1.
        width: new width in pixels, at least 1.

    Returns:
        The object at its new size; a copy where the size does not change.

    Raises:
        ValueError: a size below 1, an empty mask, or a mask that differs from the patch in size.
        TypeError: the mask is not boolean.
    """
    check_object(patch, mask)
    if height < 1 or width < 1:
        raise ValueError(f"an object needs at least 1x1 pixels, got {height}x{width} (h x w)")
    if (height, width) == mask.shape:
        return OutlierObject(patch.copy(), mask.copy())
    shrinks = height * width < mask.size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(patch, (width, height), interpolation=interpolation)
    coverage = cv2.resize(mask.astype(np.float32), (width, height), interpolation=interpolation)
    return OutlierObject(resized, coverage >= min(0.5, coverage.max()))


def scale_object(
    patch: np.ndarray, mask: np.ndarray, factor: float, max_size: tuple[int, int]
) -> OutlierObject:
    """Scale an object by `factor`, or by less where it would exceed `max_size`.

    Args:
        patch: `(h, w, 3)`.
        mask: `(h, w)` bool with at least one true pixel.
        factor: new size over old size, above 0.
        max_size: `(H, W)`, largest number of rows and columns of the result.

    Returns:
        The object with its aspect ratio kept, at `factor` times its size or at the largest size
        within `max_size`.

    Raises:
        ValueError: the factor is not positive; or as `resize_object`.
        TypeError: as `resize_object`.
    """
    if not factor > 0:
        raise ValueError(f"factor must be above 0, got {factor}")
    check_object(patch, mask)
    factor = min(factor, max_size[0] / mask.shape[0], max_size[1] / mask.shape[1])
    height, width = (max(1, round(side * factor)) for side in mask.shape)
    return resize_object(patch, mask, height, width)


def random_position(
    scene_size: tuple[int, int], object_size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """Draw the position of an object uniformly from all positions where it lies fully inside.

    The range is inclusive: an object as large as the scene has exactly one position, `(0, 0)`.

    Args:
        scene_size: `(H, W)` of the scene.
        object_size: `(h, w)` of the object.
        rng: random generator; two numbers are drawn.

    Returns:
        `(top, left)` of the object's box.

    Raises:
        ValueError: the object is larger than the scene.
    """
    _check_fits(scene_size, object_size)
    room = np.subtract(scene_size, object_size)
    top, left = rng.integers(0, room, endpoint=True)
    return int(top), int(left)


def paste_object(
    image: np.ndarray,
    labels: np.ndarray,
    patch: np.ndarray,
    mask: np.ndarray,
    top: int,
    left: int,
    *,
    outlier_index: int = OUTLIER,
) -> tuple[np.ndarray, np.ndarray]:
    """Copy an object's pixels into a scene and label them as outlier, ignored pixels included.

    Args:
        image: `(H, W, 3)` scene; not modified.
        labels: `(H, W)` integer labels of the scene; not modified.
        patch: `(h, w, 3)` crop of the same dtype as `image`.
        mask: `(h, w)` bool; only pixels under it are copied.
        top: first row of the crop in the scene, `0 <= top <= H - h`.
        left: first column of the crop in the scene, `0 <= left <= W - w`.
        outlier_index: label of the pasted pixels.

    Returns:
        New image and new labels. Outside the mask both equal the inputs.

    Raises:
        ValueError: sizes do not match, the mask is empty, the object is larger than the scene or
            crosses its border, or the labels' dtype cannot hold `outlier_index`.
        TypeError: the mask is not boolean, the labels are not integers, or patch and image differ
            in dtype.

    Example:
        >>> scene, labels = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
        >>> patch, mask = np.full((1, 2, 3), 9, np.uint8), np.array([[True, False]])
        >>> _, pasted = paste_object(scene, labels, patch, mask, 3, 1)
        >>> pasted[3].tolist()
        [0, 254, 0, 0]
    """
    _check_scene(image, labels, outlier_index)
    check_object(patch, mask)
    if patch.dtype != image.dtype:
        raise TypeError(
            f"patch and image must share a dtype, got {patch.dtype} and {image.dtype}; "
            "paste before the image is normalised or converted to float"
        )
    height, width = mask.shape
    check_inside(labels.shape, mask.shape, top, left)
    image, labels = image.copy(), labels.copy()
    box = np.s_[top : top + height, left : left + width]
    image[box][mask] = patch[mask]
    labels[box][mask] = outlier_index
    return image, labels


def _check_scene(image: np.ndarray, labels: np.ndarray, outlier_index: int) -> None:
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must have shape (H, W, 3), got {image.shape}")
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f"labels must have the size of the image, got {labels.shape} for {image.shape[:2]} "
            "(h, w)"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    bounds = np.iinfo(labels.dtype)
    if not bounds.min <= outlier_index <= bounds.max:
        raise ValueError(
            f"labels of dtype {labels.dtype} cannot hold outlier_index={outlier_index}; "
            "convert them to uint8 or int64 first"
        )


def check_object(patch: np.ndarray, mask: np.ndarray) -> None:
    """Raise a ValueError or TypeError unless the arrays are an object, see `crop_object`."""
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must be boolean, got {mask.dtype}; compare it with a value first")
    if patch.ndim != 3 or patch.shape[2] != 3:
        raise ValueError(f"an object's image must have shape (h, w, 3), got {patch.shape}")
    if mask.shape != patch.shape[:2]:
        raise ValueError(
            f"mask must have the size of its image, got {mask.shape} for {patch.shape[:2]} (h, w)"
        )
    if not mask.any():
        raise ValueError("mask is empty: expected at least one pixel that belongs to the object")


def check_inside(
    scene_size: tuple[int, ...], object_size: tuple[int, ...], top: int, left: int
) -> None:
    """Raise a ValueError unless an object lies inside the scene."""
    _check_fits(scene_size, object_size)
    lowest, rightmost = (scene - own for scene, own in zip(scene_size, object_size, strict=True))
    if not (0 <= top <= lowest and 0 <= left <= rightmost):
        raise ValueError(
            f"an object of {object_size[0]}x{object_size[1]} at top={top}, left={left} crosses "
            f"the border of a {scene_size[0]}x{scene_size[1]} scene (h x w); "
            f"top may be 0..{lowest}, left 0..{rightmost}"
        )


def _check_fits(scene_size: tuple[int, ...], object_size: tuple[int, ...]) -> None:
    if object_size[0] > scene_size[0] or object_size[1] > scene_size[1]:
        raise ValueError(
            f"an object of {object_size[0]}x{object_size[1]} is larger than the scene of "
            f"{scene_size[0]}x{scene_size[1]} (h x w); shrink it with `scale_object` first"
        )
