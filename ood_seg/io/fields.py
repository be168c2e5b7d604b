"""Checked fields of an object that was read from JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ood_seg.io.json_files import is_number

_SHOWN = 60
_LARGEST_COUNT = 2**63 - 1  # of an int64


class Fields:
    """Reads checked values of an object; every method raises a ValueError that names the field.

    Args:
        content: the object.
        where: file, and place of the object in it, for the messages.

    Raises:
        ValueError: `content` is no object.
    """

    def __init__(self, content: Any, where: str) -> None:
        self.where = where
        if not isinstance(content, dict):
            raise ValueError(f"{where}: expected an object, got {shown(content)}")
        self.content = content

    def wrong(self, name: str, expected: str) -> ValueError:
        """The error of a field that is not as expected."""
        value = shown(self.content[name])
        return ValueError(f"{self.where}: {name!r} must be {expected}, got {value}")

    def value(self, name: str) -> Any:
        """The field as it is; it must be there."""
        if name not in self.content:
            raise ValueError(f"{self.where}: the field {name!r} is missing")
        return self.content[name]

    def text(self, name: str, *, optional: bool = False) -> Any:
        """A text; if optional also null."""
        value = self.value(name)
        if isinstance(value, str) or (optional and value is None):
            return value
        raise self.wrong(name, "a text or null" if optional else "a text")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of several texts."""
        value = self.value(name)
        if isinstance(value, str) and value in choices:
            return value
        raise self.wrong(name, f"one of {', '.join(choices)}")

    def count(self, name: str, *, least: int = 0, optional: bool = False) -> Any:
        """An integer from `least`, of at most 64 bits; if optional also null."""
        value = self.value(name)
        if _is_count(value, least) or (optional and value is None):
            return value
        raise self.wrong(name, f"an integer from {least}")

    def number(
        self, name: str, low: float = -math.inf, high: float = math.inf, *, optional: bool = False
    ) -> Any:
        """A finite number from `low` to `high`; if optional also null."""
        value = self.value(name)
        if optional and value is None:
            return None
        if is_number(value) and low <= value <= high:
            return float(value)
        raise self.wrong(name, "a finite number" + _range(low, high))

    def numbers(
        self, name: str, low: float = -math.inf, high: float = math.inf
    ) -> tuple[float, ...]:
        """A list of finite numbers from `low` to `high`."""
        value = self.value(name)
        if isinstance(value, list) and all(is_number(x) and low <= x <= high for x in value):
            return tuple(map(float, value))
        raise self.wrong(name, "a list of finite numbers" + _range(low, high))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.value(name)
        if isinstance(value, list) and all(isinstance(x, str) for x in value):
            return tuple(value)
        raise self.wrong(name, "a list of texts")

    def counts(self, name: str) -> tuple[int, ...]:
        """A list of integers from 0."""
        value = self.value(name)
        if isinstance(value, list) and all(_is_count(x, 0) for x in value):
            return tuple(value)
        raise self.wrong(name, "a list of integers from 0")

    def flag(self, name: str) -> bool:
        """True or false."""
        if not isinstance(self.value(name), bool):
            raise self.wrong(name, "true or false")
        return self.content[name]

    def object(self, name: str) -> Fields:
        """The fields of an object."""
        return Fields(self.value(name), f"{self.where}: {name}")


def shown(value: Any) -> str:
    """A value for a message: as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) < _SHOWN else f"{text[:_SHOWN]}..."


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and least <= value <= _LARGEST_COUNT


def _range(low: float, high: float) -> str:
    if math.isinf(low):
        return ""
    return f" from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")
