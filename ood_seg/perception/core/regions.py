"""Region of interest: the part of the image in which flagged pixels count.

    classes   where these classes are predicted, with what stands on them: see `ClassRegion`
    polygon   the same for every image: see `PolygonRegion`
    mask      a picture of the camera's field, for one size of image: see `MaskRegion`

As text (`parse_region`), for the command line and for parameters of a node:

    road,sidewalk            class names          road,sidewalk;grow=20
    polygon:0.1,1;0.4,0.5;0.6,0.5;0.9,1           corners x,y, as fractions or in pixels
    mask:FILE                picture, 0 outside, anything else inside
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

# Predicted labels (H, W) -> boolean (H, W).
Region = Callable[[np.ndarray], np.ndarray]

# Smaller parts of a class, as a share of the image, are taken for mistakes of the network.
_SMALLEST_PART = 0.005


@dataclass(frozen=True)
class ClassRegion:
    """Where certain classes are predicted, each connected part as its convex hull.

    An obstacle on the road is not labelled road: it leaves a hole in the road, or a bay where it
    hides the edge. The hull closes both. It also takes in the inside of a bend, and not the part
    of a tall obstacle above the horizon; `grow` adds a margin. Parts below 0.5 % of the image are
    left out, so that single wrong pixels in the sky do not count as road.

    Attributes:
        labels: numbers of the classes.
        grow: margin in pixels on all sides.
    """

    labels: tuple[int, ...]
    grow: int = 0

    def __post_init__(self) -> None:
        if not self.labels or self.grow < 0:
            raise ValueError(
                "class region: expected at least one class and a margin from 0 pixels on, got "
                f"{self.labels} and {self.grow}"
            )

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        predicted = np.isin(labels, self.labels).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(predicted, connectivity=8)
        filled = np.zeros_like(predicted)
        for part in range(1, count):
            left, top, width, height, area = stats[part].tolist()
            if area < _SMALLEST_PART * labels.size:
                continue
            own = (parts[top : top + height, left : left + width] == part).astype(np.uint8)
            contours = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
            points = np.concatenate([np.asarray(one, np.int32).reshape(-1, 2) for one in contours])
            cv2.fillConvexPoly(filled, cv2.convexHull(points + np.int32([left, top])), 1)
        if self.grow:
            side = 2 * self.grow + 1
            filled = cv2.dilate(filled, np.ones((side, side), np.uint8))
        return filled.astype(bool)


@dataclass(frozen=True)
class PolygonRegion:
    """A polygon that is the same in every image.

    Attributes:
        corners: x and y of at least three corners: as fractions of width and height where all
            lie in 0..1, else in pixels. A pixel belongs to it if `cv2.fillPoly` draws it, the
            border included.
    """

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3 or not np.isfinite(self.corners).all():
            raise ValueError(
                f"polygon region: expected at least 3 finite corners x,y, got {self.corners}"
            )

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        height, width = labels.shape
        corners = np.asarray(self.corners, np.float64)
        if corners.min() >= 0 and corners.max() <= 1:
            corners = corners * (width - 1, height - 1)
        inside = np.zeros(labels.shape, np.uint8)
        cv2.fillPoly(inside, [np.rint(corners).astype(np.int32)], 1)
        return inside.astype(bool)


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """A mask that is the same in every image.

    Attributes:
        mask: `(H, W)`, anything but 0 is inside.
    """

    mask: np.ndarray

    def __post_init__(self) -> None:
        if self.mask.ndim != 2:
            raise ValueError(f"mask region: expected (H, W), got shape {self.mask.shape}")

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        self.check_size(labels.shape)
        return self.mask != 0

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a ValueError unless images of that height and width fit the mask."""
        if size != self.mask.shape:
            raise ValueError(
                f"mask region: it is for images of {self.mask.shape} (height, width), got one of "
                f"{size}"
            )


def parse_region(
    region: str | Sequence[str] | np.ndarray | Region | None, classes: Sequence[str]
) -> Region | None:
    """Make a region of what a user gave.

    Args:
        region: text as at the top, class names, a mask `(H, W)`, a function from predicted labels
            to a boolean mask, or None for the whole image.
        classes: names of the classes that the model predicts.

    Raises:
        ValueError: unknown class, malformed polygon, or a mask that is no picture.
        TypeError: none of these.
    """
    if region is None or callable(region):
        return region
    if isinstance(region, np.ndarray):
        return MaskRegion(region)
    if isinstance(region, Sequence) and not isinstance(region, str):
        return ClassRegion(_labels(region, classes))
    if not isinstance(region, str):
        raise TypeError(f"region: expected text, names, a mask or a function, got {region!r}")
    kind, colon, rest = region.partition(":")
    if colon and kind == "polygon":
        return PolygonRegion(_corners(rest))
    if colon and kind == "mask":
        return MaskRegion(_picture(rest))
    names, _, margin = region.partition(";")
    return ClassRegion(_labels(names.split(","), classes), grow=_margin(margin))


def _labels(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    known = {name.lower(): number for number, name in enumerate(classes)}
    numbers = []
    for name in names:
        number = known.get(str(name).strip().lower())
        if number is None:
            raise ValueError(
                f"region: no class {str(name).strip()!r}; the model knows {', '.join(classes)}"
            )
        numbers.append(number)
    return tuple(numbers)


def _margin(text: str) -> int:
    if not text:
        return 0
    name, _, value = text.partition("=")
    if name.strip() != "grow" or not value.strip().isdigit():
        raise ValueError(f"region: expected `CLASS,CLASS;grow=PIXELS`, got ...;{text}")
    return int(value)


def _corners(text: str) -> tuple[tuple[float, float], ...]:
    try:
        corners = tuple(
            (float(x), float(y)) for x, y in (corner.split(",") for corner in text.split(";"))
        )
    except ValueError:
        raise ValueError(f"region: expected `polygon:X,Y;X,Y;X,Y`, got `polygon:{text}`") from None
    return corners


def _picture(path: str) -> np.ndarray:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"region: mask {path} does not exist; give a picture, `mask:FILE`")
    content = np.fromfile(file, np.uint8)
    # As it is stored: made grey or 8 bit, small values would become 0.
    kind = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    mask = cv2.imdecode(content, kind) if content.size else None
    if mask is None:
        raise ValueError(f"region: {path} is no picture")
    return mask if mask.ndim == 2 else mask.any(axis=2)
