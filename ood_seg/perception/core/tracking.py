"""Instances of a video numbered, so that boxes neither flicker nor change their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Instance

# Share of the newly seen step in the velocity.
_VELOCITY_WEIGHT = 0.5


@dataclass
class _Track:
    """One object: where it was last, how it moves, how often it was seen and missed."""

    instance: Instance
    index: int
    number: int | None = None
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels for each step of the frame index
    hits: int = 1
    misses: int = 0

    def expected(self, index: int) -> Instance:
        """The last instance, moved on to the frame of that index at the track's velocity."""
        steps = index - self.index
        return moved(self.instance, *(round(steps * speed) for speed in self.velocity))

    def see(self, instance: Instance, index: int) -> None:
        """Take what was found in the frame of that index."""
        steps, was = index - self.index, centre(self.instance)
        seen = [(now - then) / steps for now, then in zip(centre(instance), was, strict=True)]
        weight = 1.0 if self.hits == 1 else _VELOCITY_WEIGHT
        self.velocity = tuple(
            old + weight * (new - old) for old, new in zip(self.velocity, seen, strict=True)
        )
        self.instance, self.index = instance, index
        self.hits, self.misses = self.hits + 1, 0


class InstanceTracker:
    """Follows instances by the overlap of their boxes.

    Each frame, tracks are moved on at their own constant velocity (as the Kalman filter of SORT
    does, Bewley et al., ICIP 2016, without its covariances) and matched with the new boxes, the
    largest overlap first. A track gets its number, and shows, once it was found in `birth` frames
    on end. A numbered track that is not found goes on showing, as last seen and moved on, for up to
    `death` frames; then it is gone, and its number is not used again.

    The mask of a result stays as it is; only `instances` changes: numbered tracks by number.

    Args:
        min_iou: smallest intersection over union of two boxes that belong together.
        birth: frames on end after which an object counts; 1: at once.
        death: frames without it after which a track ends; 0: at the first.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, *, min_iou: float = 0.2, birth: int = 2, death: int = 3) -> None:
        if not 0 < min_iou <= 1 or birth < 1 or death < 0:
            raise ValueError(
                "expected 0 < min_iou <= 1, birth from 1 and death from 0 on, got "
                f"{min_iou}, {birth} and {death}"
            )
        self.min_iou, self.birth, self.death = min_iou, birth, death
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; numbers start at 1 again."""
        self._tracks: list[_Track] = []
        self._index = -1
        self._count = 0

    def __call__(self, result: AnomalyResult) -> AnomalyResult:
        """The result with numbered instances.

        Args:
            result: of the next frame; tracks end where its index does not rise.
        """
        if result.index <= self._index:
            self._tracks = []
        self._index = result.index
        expected = [track.expected(result.index) for track in self._tracks]
        pairs = match_boxes(boxes(expected), boxes(result.instances), self.min_iou)
        for old, new in pairs:
            self._tracks[old].see(result.instances[new], result.index)
        found = {old for old, _ in pairs}
        for place, track in enumerate(self._tracks):
            track.misses += place not in found
        self._tracks = [track for track in self._tracks if self._lives(track)]
        taken = {new for _, new in pairs}
        fresh = (one for place, one in enumerate(result.instances) if place not in taken)
        self._tracks += [_Track(instance, result.index) for instance in fresh]
        return replace(result, instances=self._shown(result))

    def _lives(self, track: _Track) -> bool:
        return track.misses <= (self.death if track.number is not None else 0)

    def _shown(self, result: AnomalyResult) -> tuple[Instance, ...]:
        for track in self._tracks:
            if track.number is None and track.hits >= self.birth:
                self._count += 1
                track.number = self._count
        numbered = (track for track in self._tracks if track.number is not None)
        shown = (
            replace(track.expected(result.index), track=track.number)
            for track in sorted(numbered, key=lambda track: track.number)
        )
        size = result.anomaly.shape
        return tuple(one for one in (clipped(instance, size) for instance in shown) if one)


def boxes(instances: Sequence[Instance]) -> np.ndarray:
    """`(M, 4)` left, top, width, height."""
    return np.array([instance.box for instance in instances], np.float64).reshape(-1, 4)


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `(M, 4)` and `(N, 4)`, `(M, N)` in [0, 1]."""
    first, second = first[:, None], second[None]
    ends = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    starts = np.maximum(first[..., :2], second[..., :2])
    shared = np.clip(ends - starts, 0, None).prod(axis=-1)
    return shared / (first[..., 2:].prod(axis=-1) + second[..., 2:].prod(axis=-1) - shared)


def match_boxes(first: np.ndarray, second: np.ndarray, min_iou: float) -> list[tuple[int, int]]:
    """Pairs of boxes, largest overlap first, each box at most once; equal overlaps by place.

    Args:
        first: `(M, 4)`.
        second: `(N, 4)`.
        min_iou: pairs that overlap less are none.
    """
    ious = box_ious(first, second)
    rows, columns = np.nonzero(ious >= min_iou)
    order = np.argsort(-ious[rows, columns], kind="stable")
    pairs, used = [], (set(), set())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used[0] and column not in used[1]:
            used[0].add(row)
            used[1].add(column)
            pairs.append((row, column))
    return pairs


def centre(instance: Instance) -> tuple[float, float]:
    """x and y of the middle of the box."""
    left, top, width, height = instance.box
    return left + width / 2, top + height / 2


def moved(instance: Instance, x: int, y: int) -> Instance:
    """The instance so many pixels to the right and down."""
    left, top, width, height = instance.box
    contour = instance.contour + np.int32([x, y])
    return replace(instance, box=(left + x, top + y, width, height), contour=contour)


def clipped(instance: Instance, size: tuple[int, int]) -> Instance | None:
    """The instance cut to an image of that height and width; None where nothing is left.

    Area and scores stay those of the last sight.
    """
    left, top, width, height = instance.box
    right, bottom = min(left + width, size[1]), min(top + height, size[0])
    left, top = max(left, 0), max(top, 0)
    if right <= left or bottom <= top:
        return None
    contour = np.clip(instance.contour, 0, np.int32([size[1] - 1, size[0] - 1]))
    return replace(instance, box=(left, top, right - left, bottom - top), contour=contour)
