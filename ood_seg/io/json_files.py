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
    """Return whether a JSON value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file (NaN and infinity become null), and return its path."""
    text = json.dumps(finite(plain(content)), indent=2, ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")
