"""JSON that every parser reads: plain values only, no NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ood_seg.io.files import write_text


def plain(value: Any) -> Any:
    """Return a config value or result as plain dicts, lists and scalars.

    Arrays, tensors and NumPy scalars become lists and numbers; any other object becomes its text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def finite(value: Any) -> Any:
    """Return a value of dicts, lists and scalars in which NaN and infinity are None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number, which a float can hold."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def parse_json(text: str | bytes, origin: object) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text; bytes are UTF-8, with or without a byte order mark.
        origin: where it comes from, for the message.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except ValueError as error:
        raise ValueError(f"{origin} is not a JSON file: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{origin} is not a usable JSON file: nested too deeply") from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        ValueError: see `parse_json`.
        OSError: the file cannot be read.
    """
    return parse_json(path.read_bytes(), path)


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file (NaN and infinity become null), and return its path."""
    text = json.dumps(finite(plain(content)), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")
