"""Checks of the arguments of `PasteOutliers`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mmseg.datasets import CityscapesDataset

from ood_seg.spelling import did_you_mean

ANYWHERE = "anywhere"
EDGES = ("hard", "feathered", "poisson")
_CLASSES = CityscapesDataset.METAINFO["classes"]


def checked_classes(placement: str | int | Sequence[str | int]) -> tuple[int, ...]:
    """Return the label values of classes, given by value or by their names in Cityscapes.

    Returns:
        Empty for 'anywhere'.

    Raises:
        ValueError: an unknown name, with those that are spelled alike, or a value outside 0..253.
    """
    if placement == ANYWHERE:
        return ()
    several = [placement] if isinstance(placement, (str, int)) else list(placement)
    for one in several:
        if isinstance(one, str) and one not in _CLASSES:
            raise ValueError(
                f"placement: expected {ANYWHERE!r}, or names of Cityscapes' classes or label "
                f"values, got {one!r}{did_you_mean(one, (ANYWHERE, *_CLASSES))}"
            )
    values = tuple(_CLASSES.index(one) if isinstance(one, str) else one for one in several)
    if not values or any(not isinstance(value, int) or not 0 <= value < 254 for value in values):
        raise ValueError(f"placement: expected label values in 0..253, at least one, got {several}")
    return values


def checked_edges(edges: str | Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of edges to choose from.

    Raises:
        ValueError: an unknown kind, or none.
    """
    several = (edges,) if isinstance(edges, str) else tuple(edges)
    for one in several or ("",):
        if one not in EDGES:
            raise ValueError(
                f"edges: expected one or several of {', '.join(EDGES)}, got "
                f"{edges!r}{did_you_mean(one, EDGES)}"
            )
    return several


def checked_probability(argument: str, value: float) -> float:
    """Return a number in 0..1.

    Raises:
        ValueError: it is outside.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{argument} must lie in 0..1, got {value}")
    return value


def checked_count(count: int | tuple[int, int]) -> tuple[int, int]:
    """Return the lowest and the highest number of objects of a scene.

    Raises:
        ValueError: no integers, or not a range.
    """
    low, high = _checked_range("count", (count, count) if isinstance(count, int) else count)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError(f"count must be an integer or a pair of them, got {count}")
    return low, high


class SizeRule(NamedTuple):
    """How large objects become.

    Attributes:
        name: of the argument of `PasteOutliers`; empty for native sizes.
        values: factors of `scales`, else ranges, of which one is chosen for each object.
    """

    name: str = ""
    values: tuple = ()

    def factor(
        self, object_size: tuple[int, int], scene_size: tuple[int, int], rng: np.random.Generator
    ) -> float:
        """Draw the factor on the size of an object.

        Args:
            object_size: `(h, w)` in pixels.
            scene_size: `(H, W)` in pixels.
            rng: random generator.

        Returns:
            Above 0; with 'size_by_distance' that on the lowest row of the scene.
        """
        if not self.values:
            return 1.0
        # One range takes no draw, so that scenes are those of earlier versions.
        is_chosen = self.name == "scales" or len(self.values) > 1
        value = self.values[int(rng.integers(len(self.values)))] if is_chosen else self.values[0]
        if self.name == "scales":
            return value
        drawn = math.exp(rng.uniform(math.log(value[0]), math.log(value[1])))
        if self.name == "scale_range":
            return drawn
        unit = 1 if self.name == "size_range" else min(scene_size)
        return drawn * unit / max(object_size)


def size_rule(**rules: Any) -> SizeRule:
    """Return the one rule of size that is not None, or that of native sizes.

    Raises:
        ValueError: several rules, or a range or factor that is empty or not positive.
    """
    given = {name: value for name, value in rules.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"give one of {', '.join(rules)}, not several: {' and '.join(given)}")
    for name, value in given.items():
        if name == "scales":
            if not value or min(value) <= 0:
                raise ValueError(f"scales must be factors above 0, at least one, got {value}")
            return SizeRule(name, tuple(value))
        has_several = name == "size_share" and bool(value) and isinstance(value[0], Sequence)
        ranges = value if has_several else [value]
        return SizeRule(name, tuple(_checked_range(name, one) for one in ranges))
    return SizeRule()


def _checked_range(argument: str, limits: Sequence[float]) -> tuple[float, float]:
    if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
        raise ValueError(
            f"{argument} must be (smallest, largest) with 0 < smallest <= largest, got {limits}"
        )
    return limits[0], limits[1]
