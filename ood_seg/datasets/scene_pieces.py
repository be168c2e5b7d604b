"""Outlier objects made of the scene itself, for training without any auxiliary images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS

from ood_seg.labels import IGNORE
from ood_seg.pasting import OutlierObject
from ood_seg.spelling import did_you_mean

KINDS = ("shuffled", "blended", "warped")
_ATTEMPTS = 10  # at a window whose middle is labelled; a crop may be nothing but padding


@TRANSFORMS.register_module()
class ScenePieces:
    """Outlier objects made of the scene itself: a changed piece of it in a random round shape.

    A piece keeps the camera, light and noise of its scene, so a network cannot learn the seams of
    other images, but it holds nothing that is foreign: expect less of it than of real objects, and
    prefer these where there are any. Every scene gives pieces, so there is no `holdout`; validate
    on other scenes. Pasting pieces of an image elsewhere in it is the idea of CutPaste (Li et al.,
    CVPR 2021).

    Kinds, of which one is chosen for each object:
        shuffled: tiles of the piece in another order.
        blended: the mean of two pieces, one of them upside down.
        warped: the piece twisted around its middle.

    Args:
        kinds: to choose from; repeats make a kind more frequent.
        size: `(smallest, largest)` side of a piece as a share of the scene's short side, drawn
            log-uniformly; `PasteOutliers` may change it further.

    Raises:
        ValueError: an unknown kind, none, or a size outside 0..1.
    """

    def __init__(
        self, kinds: str | Sequence[str] = KINDS, size: tuple[float, float] = (0.08, 0.4)
    ) -> None:
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        for kind in self.kinds or ("",):
            if kind not in KINDS:
                raise ValueError(
                    f"kinds: expected one or several of {', '.join(KINDS)}, got "
                    f"{kinds!r}{did_you_mean(kind, KINDS)}"
                )
        if len(size) != 2 or not 0 < size[0] <= size[1] <= 1:
            raise ValueError(f"size must be (smallest, largest) shares in 0..1, got {size}")
        self.size = size[0], size[1]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kinds={self.kinds}, size={self.size})"

    def sample_from_scene(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> OutlierObject:
        """Draw one object.

        Args:
            image: `(H, W, 3)` uint8 scene.
            labels: `(H, W)`; pieces are taken where they are not ignored, if possible.
            rng: random generator.

        Returns:
            `(image, mask)`: `(h, w, 3)` of the scene's type and `(h, w)` bool.
        """
        share = math.exp(rng.uniform(math.log(self.size[0]), math.log(self.size[1])))
        side = max(1, round(share * min(labels.shape)))
        kind = self.kinds[rng.integers(len(self.kinds))]
        piece = _window(image, labels, side, rng)
        if kind == "shuffled":
            piece = shuffled_tiles(piece, rng)
        elif kind == "blended":
            other = _window(image, labels, side, rng)[::-1]
            piece = cv2.addWeighted(piece, 0.5, np.ascontiguousarray(other), 0.5, 0)
        else:
            piece = twisted(piece, rng.choice((-1, 1)) * rng.uniform(2, 5))
        mask = round_shape(side, rng)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return OutlierObject(piece[box], mask[box])


def _window(
    image: np.ndarray, labels: np.ndarray, side: int, rng: np.random.Generator
) -> np.ndarray:
    """A copy of a square of the scene, whose middle is not ignored if that is found soon."""
    room = np.subtract(labels.shape, side)
    for _ in range(_ATTEMPTS):
        top, left = rng.integers(0, room, endpoint=True)
        if labels[top + side // 2, left + side // 2] != IGNORE:
            break
    return image[top : top + side, left : left + side].copy()


def shuffled_tiles(piece: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a square with its tiles, 3x3 to 6x6 of them, in another order."""
    side = len(piece)
    count = min(int(rng.integers(3, 6, endpoint=True)), side)
    tile = side // count
    tiles = [
        piece[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile].copy()
        for y in range(count)
        for x in range(count)
    ]
    shuffled = piece.copy()  # what is left over by tiles of equal size stays
    for place, source in enumerate(rng.permutation(len(tiles))):
        y, x = divmod(place, count)
        shuffled[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] = tiles[source]
    return shuffled


def twisted(piece: np.ndarray, angle: float) -> np.ndarray:
    """Return a square turned by `angle` (radians) in its middle and less further out."""
    side = len(piece)
    centre = (side - 1) / 2
    y, x = np.mgrid[:side, :side].astype(np.float32) - np.float32(centre)
    radius = np.hypot(x, y)
    turn = angle * np.exp(-((2 * radius / side) ** 2))
    sine, cosine = np.sin(turn), np.cos(turn)
    across = (cosine * x - sine * y + centre).astype(np.float32)
    down = (sine * x + cosine * y + centre).astype(np.float32)
    return cv2.remap(piece, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def round_shape(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a `(side, side)` bool mask: a disc whose radius and aspect vary smoothly."""
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / max(side / 2, 1)
    stretch = rng.uniform(0.5, 1)
    x, y = (x / stretch, y) if rng.random() < 0.5 else (x, y / stretch)
    angle = np.arctan2(y, x)
    radius = np.full(angle.shape, 0.8)
    for wave in range(2, 6):
        radius += rng.uniform(0, 0.2 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    mask = np.hypot(x, y) <= radius
    mask[side // 2, side // 2] = True
    return mask
