"""Text on images: labels that do not cover each other, and a legend; OpenCV only.

Sizes follow the image, so that text can be read on a thumbnail and on an image of eight
megapixels. Colours are in the channel order of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

PLATE_COLOUR, TEXT_COLOUR = (24, 24, 24), (255, 255, 255)  # the same in RGB and BGR
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT = 22  # at scale 1
_SMALLEST_LETTER, _LETTERS_PER_SIDE = 12, 52
_DOTS = "..."


class Rectangle(NamedTuple):
    """Pixels `left .. left + width - 1`, `top .. top + height - 1`."""

    left: int
    top: int
    width: int
    height: int


def shared_pixels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pixels that rectangles `(M, 4)` share with rectangles `(N, 4)`: `(M, N)`."""
    first, second = first[:, None], second[None]
    ends = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    extents = np.maximum(ends - np.maximum(first[..., :2], second[..., :2]), 0)
    return extents[..., 0] * extents[..., 1]


class Lettering(NamedTuple):
    """Text of one size.

    Attributes:
        height: of a line, in pixels.
    """

    height: int

    @classmethod
    def of(cls, size: Sequence[int]) -> Lettering:
        """The lettering of an image: a 52nd of its shorter side, at least 12 pixels."""
        return cls(max(_SMALLEST_LETTER, round(min(size[:2]) / _LETTERS_PER_SIDE)))

    @property
    def margin(self) -> int:
        """Pixels between the text and the border of its plate."""
        return max(2, self.height // 3)

    @property
    def _stroke(self) -> int:
        return max(1, round(self.height / 10))

    def plate(self, text: str) -> tuple[int, int]:
        """Width and height of a text with its margins."""
        return self._width(text) + 2 * self.margin, self.height + 2 * self.margin

    def shortened(self, text: str, width: int) -> str:
        """The text, with its end replaced by dots if its plate would be wider than this."""
        if self.plate(text)[0] <= width:
            return text
        kept = len(text)
        while kept and self.plate(text[:kept] + _DOTS)[0] > width:
            kept -= 1
        return text[:kept] + _DOTS if kept else ""

    def draw(self, image: np.ndarray, text: str, place: Rectangle) -> None:
        """Draw a text on its plate, light on dark."""
        fill(image, place, PLATE_COLOUR)
        self.write(image, text, place.left + self.margin, place.top + self.margin)

    def write(self, image: np.ndarray, text: str, left: int, top: int) -> None:
        """Draw a text whose capitals begin at a pixel."""
        at = (left, top + self.height)
        scale = self.height / _FONT_HEIGHT
        cv2.putText(image, text, at, _FONT, scale, TEXT_COLOUR, self._stroke, cv2.LINE_AA)

    def _width(self, text: str) -> int:
        return int(cv2.getTextSize(text, _FONT, self.height / _FONT_HEIGHT, self._stroke)[0][0])


def label_places(
    boxes: np.ndarray,
    plates: Sequence[tuple[int, int]],
    size: tuple[int, int],
    taken: Sequence[Rectangle] = (),
) -> list[Rectangle | None]:
    """Place a label at each of the first boxes, so that no two labels share a pixel.

    Earlier boxes choose first: above the box, below it, beside it, then inside it. Places that
    cover less of other boxes are preferred, and none covers more than half of any box.

    Args:
        boxes: `(N, 4)` integers, left, top, width, height.
        plates: width and height of the labels of the first boxes.
        size: height and width of the image.
        taken: rectangles that no label may touch.

    Returns:
        The place of each label; None where none is free.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    placed = np.zeros((len(taken) + len(plates), 4), np.int64)
    placed[: len(taken)] = np.reshape(taken, (-1, 4))
    places: list[Rectangle | None] = []
    for number, plate in enumerate(plates):
        around = _around(boxes[number], plate, size)
        ends = around[:, :2] + around[:, 2:]
        inside = (around[:, :2] >= 0).all(axis=1) & (ends <= size[::-1]).all(axis=1)
        covered = shared_pixels(around, boxes)
        free = inside & ~shared_pixels(around, placed).any(axis=1)
        free &= (2 * covered <= boxes[:, 2] * boxes[:, 3]).all(axis=1)
        covered = covered.sum(axis=1) - covered[:, number]
        best = int(np.argmin(np.where(free, covered, np.iinfo(np.int64).max)))
        if free[best]:
            placed[len(taken) + number] = around[best]
        places.append(Rectangle(*around[best].tolist()) if free[best] else None)
    return places


def _around(box: np.ndarray, plate: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Places of a label, `(K, 4)`, the best first."""
    width, height = plate
    left, top, box_width, box_height = box.tolist()
    right, below = left + box_width, top + box_height
    flush_left = max(0, min(left, size[1] - width))
    flush_right = max(0, min(right - width, size[1] - width))
    beside = max(0, min(top, size[0] - height))
    corners = [(flush_left, top - height), (flush_left, below)]
    corners += [(flush_right, top - height), (flush_right, below)]
    corners += [(right, beside), (left - width, beside)]
    for side in (flush_left, flush_right):
        corners += [(side, max(0, top)), (side, min(below, size[0]) - height)]
    return np.array([(x, y, width, height) for x, y in corners], np.int64)


class LegendLine(NamedTuple):
    """A line of a legend.

    Attributes:
        text: what the line states.
        patch: `(h, w, 3)` uint8, stretched to a patch beside the text; None for text alone.
    """

    text: str
    patch: np.ndarray | None = None


def colour_patch(colour: Sequence[int]) -> np.ndarray:
    """A patch of one colour."""
    return np.array([[colour]], np.uint8)


def legend_place(
    lines: Sequence[LegendLine], lettering: Lettering, size: tuple[int, int], avoid: np.ndarray
) -> tuple[list[LegendLine], Rectangle] | None:
    """The corner of the image in which a legend covers least.

    Args:
        lines: the first ones are the most important. Texts that are wider than three fifths of
            the image are shortened, and lines beyond a third of its height are left out.
        lettering: of the image.
        size: height and width of the image.
        avoid: boxes `(N, 4)`, left, top, width, height, that it should not cover.

    Returns:
        The lines that fit and their place; None if not even the first one fits.
    """
    step = lettering.height + lettering.margin
    widest = size[1] * 3 // 5
    count = max(0, (size[0] // 3 - lettering.margin) // step)
    kept = []
    for line in lines[:count]:
        text = lettering.shortened(line.text, widest - _patch_width(line, lettering))
        if not text:
            break
        kept.append(line._replace(text=text))
    if not kept:
        return None
    width = max(_patch_width(one, lettering) + lettering.plate(one.text)[0] for one in kept)
    height = len(kept) * step + lettering.margin
    corners = [
        Rectangle(left, top, width, height)
        for top in (size[0] - height, 0)
        for left in (0, size[1] - width)
    ]
    covered = shared_pixels(np.array(corners), np.asarray(avoid).reshape(-1, 4)).sum(axis=1)
    return kept, corners[int(covered.argmin())]


def draw_legend(
    image: np.ndarray, lines: Sequence[LegendLine], place: Rectangle, lettering: Lettering
) -> None:
    """Draw the lines of a legend, as `legend_place` has returned them, on a dark plate."""
    fill(image, place, PLATE_COLOUR)
    step = lettering.height + lettering.margin
    for number, line in enumerate(lines):
        top = place.top + lettering.margin + number * step
        left = place.left + lettering.margin
        if line.patch is not None:
            extent = (_patch_width(line, lettering) - lettering.margin, lettering.height)
            patch = cv2.resize(line.patch, extent, interpolation=cv2.INTER_LINEAR)
            image[top : top + extent[1], left : left + extent[0]] = patch
            left += extent[0] + lettering.margin
        lettering.write(image, line.text, left, top)


def _patch_width(line: LegendLine, lettering: Lettering) -> int:
    """Pixels for the patch of a line and the gap behind it."""
    if line.patch is None:
        return 0
    letters = 5 if line.patch.shape[1] > 1 else 2  # a colour bar is longer than a patch
    return letters * lettering.height + lettering.margin


def fill(image: np.ndarray, place: Rectangle, colour: Sequence[int]) -> None:
    """Fill a rectangle; what lies outside of the image is left out."""
    last = (place.left + place.width - 1, place.top + place.height - 1)
    cv2.rectangle(image, (place.left, place.top), last, tuple(map(int, colour)), cv2.FILLED)
