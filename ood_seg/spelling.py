"""Spellings of names: those that mean the same, and those that were probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def point_name(text: str) -> str:
    """Return the name of an operating point as calibrations hold it.

    `fpr-1%`, `FPR_1%` and `fpr 1%` are all `fpr 1%`; `best-f1` is `best f1`.
    """
    return re.sub(r"\s+|(?<=\w)[-_](?=\w)", " ", text.strip()).lower()


def point_option(name: str) -> str:
    """Return the name of an operating point as it is typed, without spaces: `fpr-1%`."""
    return point_name(name).replace(" ", "-")


def close_matches(name: object, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the known names that are spelled like a name, best first; letter case is ignored.

    Args:
        name: as given; anything but a text has no matches.
        known: the names that exist.
        count: of the matches, at most.
    """
    if not isinstance(name, str):
        return []
    spellings: dict[str, str] = {}
    for one in known:
        spellings.setdefault(one.lower(), one)
    found = difflib.get_close_matches(name.lower(), spellings, n=count, cutoff=0.6)
    return [spellings[one] for one in found]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ` (did you mean 'a' or 'b'?)`, or an empty text where no known name is close."""
    close = close_matches(name, known)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def close_first(name: object, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return all known names, those that are spelled like a name first."""
    known = list(known)
    close = close_matches(name, known, count=count)
    return [*close, *(one for one in known if one not in close)]
