"""Regions of interest: the part of the image in which pixels may be flagged.

    classes   where these classes are predicted, including obstacles on them: `ClassRegion`
    polygon   the same in every image: `PolygonRegion`
    mask      an image file, for images of its size: `MaskRegion`

Written as text (`parse_region`) on the command line and in the parameters of the ROS node:

    road,sidewalk            class names          road,sidewalk;grow=20
    polygon:0.1,1;0.4,0.5;0.6,0.5;0.9,1           corners x,y as fractions or in pixels
    mask:FILE                image file: 0 outside, other values inside
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

# Predicted labels (H, W) -> boolean (H, W).
Region = Callable[[np.ndarray], np.ndarray]

# Smaller components of a class, as a share of the image, are treated as errors of the network.
_SMALLEST_PART = 0.005


@dataclass(frozen=True)
class ClassRegion:
    """The convex hull of each connected component of certain predicted classes.

    An obstacle on the road is not labelled road: it leaves a hole in the road, or a bay where it
    hides the edge. The hull closes both. It also includes the inside of a bend, but not the part
    of a tall obstacle above the horizon; `grow` adds a margin. Components below 0.5 % of the image
    are ignored, so that single wrong pixels in the sky do not count as road.

    Attributes:
        labels: numbers of the classes.
        grow: margin in pixels on all sides.

    Raises:
        ValueError: no class, or a negative margin.
    """

    labels: tuple[int, ...]
    grow: int = 0

    def __post_init__(self) -> None:
        if not self.labels or self.grow < 0:
            raise ValueError(
                "class region: expected at least one class and grow >= 0 pixels, got "
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
            cv2.fillConvexPoly(filled, cv2.convexHull(points + np.array([left, top], np.int32)), 1)
        if self.grow:
            side = 2 * self.grow + 1
            filled = np.asarray(cv2.dilate(filled, np.ones((side, side), np.uint8)))
        return filled.astype(bool)


@dataclass(frozen=True)
class PolygonRegion:
    """A polygon that is the same in every image.

    Attributes:
        corners: x and y of at least three corners: as fractions of width and height if all
            values lie in 0..1, else in pixels. A pixel is inside if `cv2.fillPoly` draws it,
            which includes the border.

    Raises:
        ValueError: fewer corners, or values that are not finite.
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
        mask: `(H, W)`; values other than 0 are inside.

    Raises:
        ValueError: another shape; on a call, labels of another size than the mask.
    """

    mask: np.ndarray

    def __post_init__(self) -> None:
        if self.mask.ndim != 2:
            raise ValueError(f"mask region: expected (H, W), got shape {self.mask.shape}")

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        self.check_size(labels.shape)
        return self.mask != 0

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise a ValueError unless the mask has this height and width."""
        if size != self.mask.shape:
            raise ValueError(
                f"mask region: expected an image of {self.mask.shape} (height, width), got {size}"
            )


def parse_region(
    region: str | Sequence[str] | np.ndarray | Region | None, classes: Sequence[str]
) -> Region | None:
    """Return the region that a user specified.

    Args:
        region: text as described in this module, class names, a mask `(H, W)`, a function from
            predicted labels to a boolean mask, or None for the whole image.
        classes: names of the classes that the model predicts.

    Raises:
        FileNotFoundError: the mask does not exist.
        ValueError: an unknown class, a malformed polygon, or a mask that is not an image.
        TypeError: a value of another type.
    """
    if region is None or callable(region):
        return region
    if isinstance(region, np.ndarray):
        return MaskRegion(region)
    if isinstance(region, Sequence) and not isinstance(region, str):
        return ClassRegion(_labels(region, classes))
    if not isinstance(region, str):
        raise TypeError(f"region: expected text, class names, a mask or a function, got {region!r}")
    kind, colon, rest = region.partition(":")
    if colon and kind == "polygon":
        return PolygonRegion(_corners(rest))
    if colon and kind == "mask":
        return MaskRegion(_read_mask(rest))
    names, _, margin = region.partition(";")
    return ClassRegion(_labels(names.split(","), classes), grow=_margin(margin))


def _labels(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    known = {name.lower(): number for number, name in enumerate(classes)}
    numbers = []
    for name in names:
        number = known.get(str(name).strip().lower())
        if number is None:
            raise ValueError(
                f"region: expected one of the classes {', '.join(classes)}, got "
                f"{str(name).strip()!r}"
            )
        numbers.append(number)
    return tuple(numbers)


def _margin(text: str) -> int:
    if not text:
        return 0
    name, _, value = text.partition("=")
    if name.strip() != "grow" or not value.strip().isdigit():
        raise ValueError(f"region: expected `CLASS,CLASS;grow=PIXELS`, got `...;{text}`")
    return int(value)


def _corners(text: str) -> tuple[tuple[float, float], ...]:
    try:
        corners = tuple(
            (float(x), float(y)) for x, y in (corner.split(",") for corner in text.split(";"))
        )
    except ValueError:
        raise ValueError(f"region: expected `polygon:X,Y;X,Y;X,Y`, got `polygon:{text}`") from None
    return corners


def _read_mask(path: str) -> np.ndarray:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"region: mask {path} does not exist; expected `mask:IMAGE_FILE`")
    content = np.fromfile(file, np.uint8)
    # As stored: converted to grey or to 8 bits, small values would become 0.
    kind = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    mask = cv2.imdecode(content, kind) if content.size else None
    if mask is None:
        raise ValueError(f"region: {path} is not an image")
    return np.asarray(mask if mask.ndim == 2 else mask.any(axis=2))
