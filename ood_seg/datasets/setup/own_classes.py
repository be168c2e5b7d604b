"""Names of classes and the values that their pixels have in somebody's own masks.

A value is an index 0..255 of a mask with one channel or a palette, or a colour `(R, G, B)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ood_seg.labels import OUTLIER

Value = int | tuple[int, int, int]


def parse_value(text: str) -> Value:
    """Return a value from `7`, `128,64,128` or `#804080`.

    Raises:
        ValueError: another form, or out of range.
    """
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16))
    parts = text.split(",")
    if len(parts) in (1, 3) and all(part.strip().isdecimal() for part in parts):
        numbers = tuple(map(int, parts))
        if max(numbers) <= 255:
            return numbers[0] if len(numbers) == 1 else numbers  # type: ignore[return-value]
    raise ValueError(f"expected a value 0..255, R,G,B or #RRGGBB, got {text!r}")


def value_text(value: Value) -> str:
    """Return a value as `parse_value` reads it: `7` or `#804080`."""
    return str(value) if isinstance(value, int) else "#{:02x}{:02x}{:02x}".format(*value)


def parse_classes(texts: Iterable[str]) -> dict[str, list[Value]]:
    """Return the values of each class, in order.

    Args:
        texts: `NAME=VALUE` each; a name may come again with another value. Without `=VALUE` the
            classes have the indices 0, 1, 2, ... in this order.

    Raises:
        ValueError: a name is empty, a value is malformed or given twice, only some have values, or
            there are more classes than labels.
    """
    classes: dict[str, list[Value]] = {}
    texts = list(texts)
    named = [text for text in texts if "=" in text]
    if named and len(named) < len(texts):
        bare = next(text for text in texts if "=" not in text)
        raise ValueError(
            f"classes: {named[0]!r} has a value and {bare!r} has none; give all or none"
        )
    for index, text in enumerate(texts):
        name, _, value = text.partition("=")
        if not name.strip():
            raise ValueError(f"classes: expected NAME or NAME=VALUE, got {text!r}")
        if not named and name.strip() in classes:
            raise ValueError(f"classes: {name!r} is given twice")
        parsed = parse_value(value.strip()) if named else index
        owner = next((one for one, held in classes.items() if parsed in held), None)
        if owner is not None:
            raise ValueError(f"classes: {value_text(parsed)} is given to {owner!r} and {name!r}")
        classes.setdefault(name.strip(), []).append(parsed)
    if not 1 <= len(classes) <= OUTLIER:
        raise ValueError(f"classes: expected 1 to {OUTLIER}, got {len(classes)}")
    return classes
