"""What a person sees of a result: the overlay in its styles, drawn with OpenCV only.

    decision      flagged pixels tinted, with their outline; everything else as it is
    heat          the score of every pixel as colours, and the outline of what is flagged
    classes       the colours of the known classes, and the same outline
    side-by-side  the image beside the decision

Each has the region as a line, a box and a label for each unknown object, and a legend. Images are
BGR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ood_seg import visualization
from ood_seg.perception.core.types import SCENE, Instance, Palette
from ood_seg.visualization.annotations import (
    LegendLine,
    Lettering,
    colour_patch,
    draw_legend,
    label_places,
    legend_place,
)

if TYPE_CHECKING:
    from ood_seg.perception.core.result import AnomalyResult

# BGR. Lines have a bright and a dark side, so that they show on any background and without colours.
TINT, EDGE, REGION, BOX, DARK = (190, 20, 255), (80, 245, 255), (255, 190, 60), (255,) * 3, (0,) * 3
DEFAULT_STYLE, DEFAULT_ALPHA = "decision", 0.45
_LABELS = 20  # the largest objects; more labels cannot be read
_CLASSES = 6  # of a legend, the most frequent ones

Limits = tuple[float, float] | None
Layer = tuple[np.ndarray, list[LegendLine]]


def drawn_overlay(
    result: AnomalyResult, style: str, alpha: float, limits: Limits = None
) -> np.ndarray:
    """See `AnomalyResult.overlay`.

    Raises:
        ValueError: another style than one of `STYLES`, or see `visualization.blend`.
    """
    if style not in STYLES:
        raise ValueError(f"style: expected one of {', '.join(STYLES)}, got {style!r}")
    drawn, lines = STYLES[style](result, alpha, limits)
    if result.region is not None:
        _draw_region(drawn, result.region)
    if result.mask is not None:
        draw_edges(drawn, result.mask)
    draw_boxes(drawn, result.instances, [*_decision_lines(result), *lines])
    return cv2.hconcat([result.image, drawn]) if style == "side-by-side" else drawn


def blend_labels(
    image: np.ndarray, labels: np.ndarray, palette: Palette, alpha: float = 0.5
) -> np.ndarray:
    """`visualization.label_overlay` for BGR images."""
    return visualization.label_overlay(image, labels, _bgr(palette), alpha)


def heat_map(values: np.ndarray, limits: Limits = None) -> np.ndarray:
    """`visualization.heat_map` in BGR; by default, `score_range` of the values is shown."""
    low, high = limits or (None, None)
    return cv2.cvtColor(visualization.heat_map(values, low, high), cv2.COLOR_RGB2BGR)


def mask_edges(mask: np.ndarray, width: int = 1) -> np.ndarray:
    """Boolean `(H, W)`: flagged pixels at most `width` from an unflagged one or the border."""
    flagged = (mask != 0).view(np.uint8)
    inner = cv2.erode(flagged, _square(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return cv2.subtract(flagged, inner).view(bool)


def draw_edges(image: np.ndarray, mask: np.ndarray) -> None:
    """Outline a mask `(H, W)`: bright on its outermost pixels, dark on those around it."""
    width = _line_width(image)
    left, top, columns, rows = cv2.boundingRect((mask != 0).view(np.uint8))
    # One line of pixels more on all sides, on which the dark edge lies.
    first = max(0, top - width), max(0, left - width)
    place = np.s_[first[0] : top + rows + width, first[1] : left + columns + width]
    flagged, around = (mask[place] != 0).view(np.uint8), image[place]
    if not flagged.size:
        return
    _paint(around, cv2.subtract(cv2.dilate(flagged, _square(width)), flagged), DARK)
    _paint(around, mask_edges(flagged, width).view(np.uint8), EDGE)


def draw_boxes(
    image: np.ndarray, instances: Sequence[Instance], lines: Sequence[LegendLine] = ()
) -> None:
    """Draw boxes, labels and a legend into an image.

    Boxes lie on the outermost pixels of the objects. Labels never overlap; where there is no room
    for one, or beyond the 20 largest objects, there is only the box. What is a scene rather than
    an object has no box.
    """
    size, width = image.shape[:2], _line_width(image)
    objects = sorted((one for one in instances if one.kind != SCENE), key=lambda one: -one.area)
    # The dark side of a line is the outer one, so that small objects remain visible.
    for colour, thickness, out in ((DARK, 1, width // 2 + 1), (BOX, width, 0)):
        for one in objects:
            left, top, columns, rows = one.box
            corner = (left + columns - 1 + out, top + rows - 1 + out)
            cv2.rectangle(image, (left - out, top - out), corner, colour, thickness)
    boxes = np.array([one.box for one in objects], np.int64).reshape(-1, 4)
    lettering, taken = Lettering.of(size), []
    legend = legend_place(lines, lettering, size, boxes)
    if legend is not None:
        draw_legend(image, *legend, lettering)
        taken = [legend[1]]
    texts = [caption(one) for one in objects[:_LABELS]]
    places = label_places(boxes, [lettering.plate(text) for text in texts], size, taken)
    for text, place in zip(texts, places, strict=True):
        if place is not None:
            lettering.draw(image, text, place)


def caption(instance: Instance) -> str:
    """Label of an instance: `unknown 87 %`, `#3 unknown 87 %`, or the mean score `unknown -4.2`."""
    value = (
        f"{instance.mean_score:.1f}"
        if instance.probability is None
        else f"{100 * instance.probability:.0f} %"
    )
    track = "" if instance.track is None else f"#{instance.track} "
    return f"{track}unknown {value}"


def _decision(result: AnomalyResult, alpha: float, limits: Limits) -> Layer:
    """The image with its flagged pixels tinted."""
    visualization.check_alpha(alpha)
    drawn = result.image.copy()
    if result.mask is not None and result.mask.any():
        left, top, width, height = cv2.boundingRect(result.mask)
        place = np.s_[top : top + height, left : left + width]
        # As `visualization.blend` with an image of one colour, in less time.
        tinted = cv2.convertScaleAbs(drawn[place], alpha=1 - alpha)
        cv2.add(tinted, np.rint(alpha * np.array([*TINT, 0.0])), dst=tinted)
        cv2.copyTo(tinted, result.mask[place], drawn[place])
    return drawn, []


def _heat(result: AnomalyResult, alpha: float, limits: Limits) -> Layer:
    """The image under the probabilities from 0 to 1, or else under the scores."""
    if limits is None and result.probability is not None:
        values, limits, name = result.probability, (0.0, 1.0), "probability"
    else:
        values, name = result.anomaly, result.score_name
    low, high = visualization.completed_range(values, *(limits or (None, None)))
    bar = heat_map(np.linspace(0, 1, 64, dtype=np.float32)[None], (0.0, 1.0))
    drawn = visualization.blend(result.image, heat_map(values, (low, high)), alpha)
    return drawn, [LegendLine(f"{name} {low:.3g} to {high:.3g}", bar)]


def _classes(result: AnomalyResult, alpha: float, limits: Limits) -> Layer:
    """The image under the colours of the classes."""
    colours = _bgr(result.palette)
    counts = np.bincount(result.labels[::4, ::4].reshape(-1), minlength=len(colours))
    most = np.argsort(-counts[: len(colours)], kind="stable")[:_CLASSES]
    names = result.palette.classes
    lines = [LegendLine(names[one], colour_patch(colours[one])) for one in most if counts[one]]
    return visualization.label_overlay(result.image, result.labels, colours, alpha), lines


STYLES: Mapping[str, Callable[[AnomalyResult, float, Limits], Layer]] = {
    "decision": _decision,
    "heat": _heat,
    "classes": _classes,
    "side-by-side": _decision,
}
DECISION_STYLES = ("decision", "side-by-side")  # of which nothing is left without a threshold


def _decision_lines(result: AnomalyResult) -> list[LegendLine]:
    """What is flagged, by which model; scenes, which have no label of their own."""
    lines = []
    if result.threshold is not None:
        least = f"{result.score_name} >= {result.threshold:.3g}"
        if result.threshold_probability is not None:
            percent = 100 * result.threshold_probability
            least = f"probability >= {percent:.{'0f' if percent >= 1 else '1g'}} %"
        point = "" if result.operating_point is None else f"{result.operating_point}, "
        lines.append(LegendLine(f"unknown: {point}{least}", colour_patch(TINT)))
    of_what = "image" if result.region is None else "region"
    pixels = result.anomaly.size if result.region is None else np.count_nonzero(result.region)
    for one in result.instances:
        if one.kind == SCENE:
            share = f"{100 * one.area / pixels:.0f} % of the {of_what}"
            lines.append(LegendLine(f"scene unknown: {share}", colour_patch(TINT)))
    if result.model:
        lines.append(LegendLine(result.model))
    return lines


def _draw_region(image: np.ndarray, region: np.ndarray) -> None:
    contours = cv2.findContours(
        (region != 0).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )[-2]
    width = _line_width(image)
    for colour, thickness in ((DARK, width + 2), (REGION, width)):
        cv2.drawContours(image, contours, -1, colour, thickness)


def _line_width(image: np.ndarray) -> int:
    """Pixels of a thin line: 1 up to 810 pixels of the shorter side, 2 from there on, ..."""
    return max(1, round(min(image.shape[:2]) / 540))


def _square(width: int) -> np.ndarray:
    return np.ones((2 * width + 1, 2 * width + 1), np.uint8)


def _filled(shape: Sequence[int], colour: Sequence[int]) -> np.ndarray:
    """An image of one colour; far faster than an assignment in NumPy."""
    image = np.empty(shape, np.uint8)
    return cv2.rectangle(image, (0, 0), (shape[1], shape[0]), tuple(colour), cv2.FILLED)


def _paint(image: np.ndarray, where: np.ndarray, colour: Sequence[int]) -> None:
    """Give the pixels where `(H, W)` uint8 is not 0 a colour."""
    cv2.copyTo(_filled(image.shape, colour), where, image)


def _bgr(palette: Palette) -> list[tuple[int, ...]]:
    return [colour[::-1] for colour in palette.colours]
