"""Tracking of instances in a video, so that boxes neither flicker nor change their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ood_seg.perception.core.clock import FrameClock
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Instance

# Weight of the newest step in the velocity.
_VELOCITY_WEIGHT = 0.5


@dataclass
class _Track:
    """One object: its last position, its velocity, how often it was detected and missed."""

    instance: Instance
    time: float
    number: int | None = None
    velocity: tuple[float, float] = (0.0, 0.0)  # pixels per unit of time
    hits: int = 1
    misses: int = 0

    def expected(self, time: float) -> Instance:
        """The last instance, moved to this time with the velocity of the track."""
        elapsed = time - self.time
        # Errors of 1e-16 in the times must not decide which way half a pixel is rounded.
        return moved(self.instance, *(round(round(elapsed * one, 6)) for one in self.velocity))

    def update(self, instance: Instance, time: float) -> None:
        """Continue the track with an instance of the frame of this time."""
        elapsed = time - self.time
        weight = 1.0 if self.hits == 1 else _VELOCITY_WEIGHT
        positions = zip(self.velocity, centre(self.instance), centre(instance), strict=True)
        x, y = (
            speed + weight * ((now - before) / elapsed - speed) for speed, before, now in positions
        )
        self.velocity = x, y
        self.instance, self.time = instance, time
        self.hits, self.misses = self.hits + 1, 0


class InstanceTracker:
    """Tracks instances by the overlap of their boxes.

    In each frame, tracks are moved with a constant velocity over the time that has passed
    (`FrameClock`; as in the Kalman filter of SORT, Bewley et al., ICIP 2016, but without
    covariances) and matched to the new boxes, the largest
    overlap first. A track is numbered and reported once it was detected in `birth` consecutive
    frames. A numbered track that is not detected is still reported, moved with its velocity, for
    up to `death` frames; then it ends, and its number is not used again.

    The mask of a result is unchanged; its `instances` become the numbered tracks, by number.

    Args:
        min_iou: least intersection over union of two boxes of one object.
        birth: consecutive frames with a detection until a track is reported; 1: at once.
        death: frames without a detection for which a numbered track is still reported.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, *, min_iou: float = 0.2, birth: int = 2, death: int = 3) -> None:
        if not 0 < min_iou <= 1 or birth < 1 or death < 0:
            raise ValueError(
                "expected 0 < min_iou <= 1, birth >= 1 and death >= 0, got "
                f"{min_iou}, {birth} and {death}"
            )
        self.min_iou, self.birth, self.death = min_iou, birth, death
        self.reset()

    def reset(self) -> None:
        """End all tracks; numbers start at 1 again."""
        self._tracks: list[_Track] = []
        self._clock = FrameClock()
        self._count = 0

    def __call__(self, result: AnomalyResult) -> AnomalyResult:
        """Return the result with tracked instances.

        Args:
            result: of the next frame; if its index does not rise, or its stamp falls, all tracks
                end.
        """
        self._clock.update(result.index, result.stamp)
        if self._clock.steps is None:
            self._tracks = []
        time = self._clock.time
        expected = [track.expected(time) for track in self._tracks]
        pairs = match_boxes(boxes(expected), boxes(result.instances), self.min_iou)
        for old, new in pairs:
            self._tracks[old].update(result.instances[new], time)
        found = {old for old, _ in pairs}
        for place, track in enumerate(self._tracks):
            track.misses += place not in found
        self._tracks = [track for track in self._tracks if self._continues(track)]
        taken = {new for _, new in pairs}
        unmatched = (one for place, one in enumerate(result.instances) if place not in taken)
        self._tracks += [_Track(instance, time) for instance in unmatched]
        return replace(result, instances=self._reported(result))

    def _continues(self, track: _Track) -> bool:
        return track.misses <= (self.death if track.number is not None else 0)

    def _reported(self, result: AnomalyResult) -> tuple[Instance, ...]:
        for track in self._tracks:
            if track.number is None and track.hits >= self.birth:
                self._count += 1
                track.number = self._count
        numbered = {track.number: track for track in self._tracks if track.number is not None}
        reported = (
            replace(numbered[number].expected(self._clock.time), track=number)
            for number in sorted(numbered)
        )
        size = result.anomaly.shape
        return tuple(one for one in (clipped(instance, size) for instance in reported) if one)


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
    """Pairs of indices of boxes, largest overlap first, each box at most once.

    Equal overlaps are ordered by the indices.

    Args:
        first: `(M, 4)`.
        second: `(N, 4)`.
        min_iou: least overlap of a pair.
    """
    ious = box_ious(first, second)
    rows, columns = np.nonzero(ious >= min_iou)
    order = np.argsort(-ious[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used[0] and column not in used[1]:
            used[0].add(row)
            used[1].add(column)
            pairs.append((row, column))
    return pairs


def centre(instance: Instance) -> tuple[float, float]:
    """x and y of the centre of the box."""
    left, top, width, height = instance.box
    return left + width / 2, top + height / 2


def moved(instance: Instance, x: int, y: int) -> Instance:
    """The instance, moved `x` pixels to the right and `y` pixels down."""
    left, top, width, height = instance.box
    contour = instance.contour + np.array([x, y], np.int32)
    return replace(instance, box=(left + x, top + y, width, height), contour=contour)


def clipped(instance: Instance, size: tuple[int, int]) -> Instance | None:
    """The instance, clipped to an image of this height and width; None if it is outside.

    Area and scores are those of the last detection.
    """
    left, top, width, height = instance.box
    right, bottom = min(left + width, size[1]), min(top + height, size[0])
    left, top = max(left, 0), max(top, 0)
    if right <= left or bottom <= top:
        return None
    contour = np.clip(instance.contour, 0, np.array([size[1] - 1, size[0] - 1], np.int32))
    return replace(instance, box=(left, top, right - left, bottom - top), contour=contour)
