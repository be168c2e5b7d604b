"""Objects that look less pasted: soft edges, colours of their surroundings, a shadow.

Each function returns a changed copy of the object's crop, or of the scene, which is then pasted as
any other. So a pixel belongs to the object, and is labelled, exactly where its mask is true.
"""

from __future__ import annotations

import cv2
import numpy as np

from ood_seg.pasting.objects import check_inside, check_object

# Spreads may be scaled by this much at most: a flat surface would make any object flat.
_SPREAD_LIMITS = 0.5, 2.0
# `cv2.seamlessClone` takes gradients from the mask eroded by this many pixels (OpenCV 4 and 5).
_CLONE_EROSION = 3


def feathered_patch(
    image: np.ndarray, patch: np.ndarray, mask: np.ndarray, top: int, left: int, width: float
) -> np.ndarray:
    """Fade an object into the scene inside its own edge.

    The share of the object grows linearly with the distance to the nearest pixel outside the mask,
    from 1 / (width + 1) on the edge to 1 after `width` pixels. Objects too thin for that reach
    1 in their middle.

    Args:
        image: `(H, W, 3)` uint8 scene.
        patch: `(h, w, 3)` uint8.
        mask: `(h, w)` bool.
        top, left: where the object will be pasted.
        width: of the fade in pixels; 0 keeps hard edges.

    Returns:
        `(h, w, 3)` uint8: the object mixed with the scene under the mask.

    Raises:
        ValueError, TypeError: as `paste_object`, or not uint8.
    """
    box = _checked_box(image, patch, mask, top, left)
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    share = (distance / min(width + 1, float(distance.max()))).clip(0, 1)[..., None]
    return _rounded(share * patch + (1 - share) * image[box])


def cloned_patch(
    image: np.ndarray, patch: np.ndarray, mask: np.ndarray, top: int, left: int
) -> np.ndarray | None:
    """Blend an object into the scene by its gradients (Perez et al., "Poisson Image Editing",
    SIGGRAPH 2003; `cv2.seamlessClone`).

    Args:
        image, patch, mask, top, left: as `feathered_patch`.

    Returns:
        `(h, w, 3)` uint8; None for objects so thin that nothing of them would be left.

    Raises:
        ValueError, TypeError: as `feathered_patch`.
    """
    box = _checked_box(image, patch, mask, top, left)
    inside = cv2.erode(
        np.pad(mask.astype(np.uint8), 1), np.ones((3, 3), np.uint8), None, (-1, -1), _CLONE_EROSION
    )
    if not inside.any():
        return None
    # seamlessClone needs scene around the mask, which an object at the border does not have.
    margin = 2
    scene = cv2.copyMakeBorder(image[box], *(margin,) * 4, cv2.BORDER_REPLICATE)
    rows, columns = (
        slice(max(0, start - margin), start + size + margin)
        for start, size in zip((top, left), mask.shape, strict=True)
    )
    found = image[rows, columns]
    above, before = margin - (top - rows.start), margin - (left - columns.start)
    scene[above : above + found.shape[0], before : before + found.shape[1]] = found
    source = cv2.copyMakeBorder(patch, *(margin,) * 4, cv2.BORDER_REPLICATE)
    region = np.pad(mask.astype(np.uint8) * 255, margin)
    left_side, top_side, across, down = cv2.boundingRect(region)
    centre = left_side + across // 2, top_side + down // 2
    cloned = cv2.seamlessClone(source, scene, region, centre, cv2.NORMAL_CLONE)
    return cloned[margin:-margin, margin:-margin]


def recoloured_patch(
    image: np.ndarray,
    patch: np.ndarray,
    mask: np.ndarray,
    top: int,
    left: int,
    strength: float,
) -> np.ndarray:
    """Bring an object's colours towards those around it (Reinhard et al., "Color Transfer between
    Images", 2001): mean and standard deviation of each channel of CIE L*a*b*.

    Surroundings are the object's box, enlarged by half its size on each side, without the object.

    Args:
        image, patch, mask, top, left: as `feathered_patch`; BGR.
        strength: 0 keeps the colours, 1 takes mean and spread of the surroundings.

    Returns:
        `(h, w, 3)` uint8.

    Raises:
        ValueError, TypeError: as `feathered_patch`.
    """
    _checked_box(image, patch, mask, top, left)
    height, width = mask.shape
    above, before = max(0, top - height // 2), max(0, left - width // 2)
    around = image[above : top + height + height // 2, before : left + width + width // 2]
    is_outside = np.ones(around.shape[:2], bool)
    is_outside[top - above : top - above + height, left - before : left - before + width] = ~mask
    if not is_outside.any():
        return patch.copy()
    scene = _lab(around)[is_outside]
    own = _lab(patch)
    mean, spread = own[mask].mean(axis=0), own[mask].std(axis=0)
    ratio = (scene.std(axis=0) / np.maximum(spread, 1e-3)).clip(*_SPREAD_LIMITS)
    moved = (own - mean) * ratio + scene.mean(axis=0)
    mixed = own + strength * (moved - own)
    return _rounded(cv2.cvtColor(mixed.astype(np.float32), cv2.COLOR_LAB2BGR) * 255)


def shadowed_scene(
    image: np.ndarray, mask: np.ndarray, top: int, left: int, strength: float
) -> np.ndarray:
    """Darken the ground below an object: a soft ellipse around the middle of its lowest row.

    Labels stay as they are: ground in a shadow is ground.

    Args:
        image: `(H, W, 3)` uint8 scene.
        mask: `(h, w)` bool.
        top, left: where the object will be pasted.
        strength: 0 for none, 1 for black below the middle of the object.

    Returns:
        `(H, W, 3)` uint8.

    Raises:
        ValueError, TypeError: as `feathered_patch`.
    """
    _checked_box(image, np.broadcast_to(np.uint8(0), (*mask.shape, 3)), mask, top, left)
    columns = np.flatnonzero(mask.any(axis=0))
    lowest = int(np.flatnonzero(mask.any(axis=1))[-1])
    centre = top + lowest, left + (columns[0] + columns[-1]) / 2
    across = 0.65 * len(columns) + 1
    down = 0.22 * across
    rows = slice(max(0, int(centre[0] - down)), int(centre[0] + down) + 2)
    window = slice(max(0, int(centre[1] - across)), int(centre[1] + across) + 2)
    shadowed = image.copy()
    part = shadowed[rows, window]
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    distance = ((y + rows.start - centre[0]) / down) ** 2 + (
        (x + window.start - centre[1]) / across
    ) ** 2
    light = 1 - strength * (1 - distance).clip(0, 1)
    shadowed[rows, window] = _rounded(part * light[..., None])
    return shadowed


def _checked_box(
    image: np.ndarray, patch: np.ndarray, mask: np.ndarray, top: int, left: int
) -> tuple[slice, slice]:
    """The object's box in the scene."""
    check_object(patch, mask)
    check_inside(image.shape[:2], mask.shape, top, left)
    if image.dtype != np.uint8 or patch.dtype != np.uint8:
        raise TypeError(
            f"blending needs images of uint8, got {image.dtype} and {patch.dtype}; "
            "paste before the image is normalised or converted to float"
        )
    return np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)
