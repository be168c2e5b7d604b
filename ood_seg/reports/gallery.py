"""Images of low, middle and high AP, reduced to panels that are small enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ood_seg.io.images import read_image
from ood_seg.labels import ANOMALY
from ood_seg.metrics.formatting import is_number, percent
from ood_seg.reports.evaluations import Evaluations, ranked_images
from ood_seg.visualization import (
    decision_overlay,
    ground_truth_overlay,
    heat_map,
    score_range,
)

# Reads the files of scores and ground truth, as `ood_seg.evaluation.saved_maps.MapReader.read`.
ReadMaps = Callable[[Path, Path], tuple[np.ndarray, np.ndarray]]

PANEL_WIDTH = 480
PLACES = ("worst", "median", "best")
# All panels together, as they are embedded in the page.
MAX_BYTES = 4_000_000
_QUALITY = 82
_KNOWN_GREY = 128


class Panel(NamedTuple):
    """One panel of an image: its title, the alternative text, and the file as a data URI."""

    title: str
    alt: str
    uri: str


class Example(NamedTuple):
    """An image with its AP and its panels; `place` is one of `PLACES`."""

    name: str
    place: str
    ap: str
    panels: list[Panel]


class Gallery(NamedTuple):
    """The examples, the score ranges of the heat maps by method, and what could not be shown."""

    examples: list[Example]
    ranges: dict[str, tuple[float, float]]
    problems: list[str]

    @property
    def has_decisions(self) -> bool:
        """Whether a panel shows what was found, missed, and flagged wrongly."""
        return any(
            panel.title.startswith("decision") for one in self.examples for panel in one.panels
        )


class SmallMaps(NamedTuple):
    """An image reduced to the width of a panel; scores and decisions by method.

    `place` is one of `PLACES`, and `ap` the text of its AP by every method.
    """

    name: str
    place: str
    ap: str
    image: np.ndarray
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    flagged: dict[str, np.ndarray]
    has_image: bool


def chosen_images(evaluation: Mapping[str, Any], count: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Images of the lowest, the middle and the highest AP, a third of `count` each, in turns."""
    return chosen_places([one for one in ranked_images(evaluation) if is_number(one["ap"])], count)


def chosen_places(
    ranked: Sequence[Mapping[str, Any]], count: int
) -> list[tuple[str, Mapping[str, Any]]]:
    """Place and image of the first, the middle and the last, a third of `count` each, in turns."""
    count = min(count, len(ranked))
    lowest = -(-count // 3)
    highest = -(-(count - lowest) // 2)
    middle = count - lowest - highest
    start = (len(ranked) + lowest - highest - middle) // 2
    parts = {
        "worst": ranked[:lowest],
        "best": ranked[::-1][:highest],
        "median": ranked[start : start + middle],
    }
    turns = zip_longest(*([(place, one) for one in part] for place, part in parts.items()))
    return [one for turn in turns for one in turn if one]


def read_small_maps(
    evaluations: Evaluations, readers: Sequence[ReadMaps], count: int
) -> tuple[list[SmallMaps], list[str]]:
    """Read `chosen_images` of the first evaluation, with the scores of all.

    Returns:
        The maps, and a message for each image whose files cannot be read: a report must not fail
        on a file that has been moved.
    """
    shown, problems = [], []
    for place, image in chosen_images(next(iter(evaluations.values())), count):
        try:
            shown.append(_small_maps(image["name"], place, evaluations, readers))
        except (OSError, ValueError) as error:
            problems.append(f"{image['name']} is not shown: {error}")
    return shown, problems


def gallery(
    evaluations: Evaluations, readers: Sequence[ReadMaps], count: int, max_bytes: int = MAX_BYTES
) -> Gallery:
    """Draw some images, see `read_small_maps`.

    Those that would exceed `max_bytes` are left out and counted among the problems.
    """
    shown, problems = read_small_maps(evaluations, readers, count)
    ranges = {
        label: score_range(maps.scores[label] for maps in shown if label in maps.scores)
        for label in (evaluations if shown else ())
    }
    examples, size = [], 0
    for done, maps in enumerate(shown):
        panels = _panels(maps, evaluations, ranges)
        size += sum(len(panel.uri) for panel in panels)
        if size > max_bytes:
            problems.append(f"images not shown, to keep this page small: {len(shown) - done}")
            break
        examples.append(Example(maps.name, maps.place, maps.ap, panels))
    examples.sort(key=lambda example: PLACES.index(example.place))
    return Gallery(examples, ranges, problems)


def _ap(name: str, evaluations: Evaluations) -> str:
    """The AP of an image, of each method where there are several."""
    return ", ".join(
        (f"{label} " if len(evaluations) > 1 else "") + f"AP {percent(image['ap'])} %"
        for label, one in evaluations.items()
        for image in one["images"]
        if image["name"] == name
    )


def _small_maps(
    name: str, place: str, evaluations: Evaluations, readers: Sequence[ReadMaps]
) -> SmallMaps:
    """Read an image, its mask, and its scores by every method that has it; reduce them."""
    scores, flagged, image_path = {}, {}, None
    truth: Any = None
    for (label, one), read in zip(evaluations.items(), readers, strict=True):
        entry = next((image for image in one["images"] if image["name"] == name), None)
        if entry is None:
            continue
        score_map, labels = read(Path(entry["scores"]), Path(entry["ground_truth"]))
        truth = labels if truth is None else truth
        image_path = image_path or entry.get("image")
        size = _small_size(truth.shape)
        scores[label] = cv2.resize(score_map, size, interpolation=cv2.INTER_AREA)
        threshold = one.get("best_f1_threshold")
        if is_number(threshold):
            flagged[label] = _mostly(score_map >= threshold, size)
    size = _small_size(truth.shape)
    small = _small_mask(np.asarray(truth, np.uint8), size)
    ap = _ap(name, evaluations)
    if image_path is None:
        grey = np.full((*small.shape, 3), _KNOWN_GREY, np.uint8)
        return SmallMaps(name, place, ap, grey, small, scores, flagged, False)
    image = read_image(image_path, grey_ok=True)
    image = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    return SmallMaps(name, place, ap, image, small, scores, flagged, True)


def _small_size(shape: Sequence[int]) -> tuple[int, int]:
    """Width and height of a panel; small maps keep their size."""
    scale = min(1.0, PANEL_WIDTH / shape[1])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _small_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    small[_mostly(mask == ANOMALY, size)] = ANOMALY
    return small


def _mostly(flags: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduced flags, set where a third of the area is: thin shapes neither break nor vanish."""
    return cv2.resize(flags.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 1 / 3


def _panels(
    maps: SmallMaps, evaluations: Evaluations, ranges: Mapping[str, tuple[float, float]]
) -> list[Panel]:
    name = maps.name
    truth = ground_truth_overlay(maps.image, maps.truth)
    panels = [panel("image", f"{name}: the image", maps.image)] if maps.has_image else []
    panels.append(panel("ground truth", f"{name}: anomalies orange, ignored pixels dark", truth))
    for label, scores in maps.scores.items():
        method = f", {label}" if len(evaluations) > 1 else ""
        heat = heat_map(scores, *ranges[label])
        panels.append(panel(f"score{method}", f"{name}: anomaly score of {label}", heat))
        if label in maps.flagged:
            decided = decision_overlay(maps.image, maps.truth, maps.flagged[label])
            alt = f"{name}: anomalous pixels that {label} finds and misses, and its false alarms"
            panels.append(panel(f"decision{method}", alt, decided))
    return panels


def colour_bar() -> str:
    """The colours of the heat map from low to high scores, as a data URI."""
    return panel("", "", heat_map(np.linspace(0, 1, 256)[None].repeat(8, 0), 0.0, 1.0)).uri


def panel(title: str, alt: str, image: np.ndarray) -> Panel:
    """A panel of an RGB image."""
    # Colours at full resolution: an anomaly may be two pixels wide here.
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *sampling]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    uri = f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
    return Panel(title, alt, uri)
