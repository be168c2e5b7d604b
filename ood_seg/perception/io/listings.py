"""Which pictures a folder, a pattern or a list file names, in order, and what each is called."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ood_seg.io.images import IMAGE_SUFFIXES
from ood_seg.perception.io.name_set import NameSet

_PATTERN = re.compile(r"[*?[]")
_NUMBER = re.compile(r"(\d+)")
_SEPARATORS = re.compile(r"[\\/]+")
_UNSAFE = re.compile(r'[\x00-\x1f<>:"|?*]')


class Entry(NamedTuple):
    """A picture that is not read yet.

    Attributes:
        name: what its outputs are called after.
        path: the file.
    """

    name: str
    path: str


def natural_key(name: str) -> tuple[list, str]:
    """Sorts `frame2` before `frame10`."""
    parts = _NUMBER.split(name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def safe_name(text: str) -> str:
    """A relative path made of `text` that stays below the folder it is put into."""
    parts = [part for part in _SEPARATORS.split(text) if part not in ("", ".")]
    safe = ["__" if part == ".." else _UNSAFE.sub("_", part) for part in parts]
    return "/".join(safe) or "image"


def is_picture(path: str) -> bool:
    """Whether the suffix is one of a picture."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def walk_folder(folder: Path, skip: Path | None = None) -> Iterator[Entry]:
    """Pictures of a folder and those below, naturally sorted, one folder in memory at a time.

    Hidden files and folders are passed over, links to folders not followed. Names are paths below
    `folder` without suffix; pictures that differ in nothing else keep it (`a.jpg`, `a.png`).

    Args:
        folder: where to look.
        skip: a folder left out, such as that of the outputs.
    """
    skipped = None if skip is None else str(skip.resolve())
    if skipped != str(folder.resolve()):
        yield from _walk(str(folder), "", skipped)


def _walk(folder: str, prefix: str, skipped: str | None) -> Iterator[Entry]:
    folders, files = [], []
    try:
        with os.scandir(folder) as content:
            for item in content:
                if item.name.startswith("."):
                    continue
                if item.is_dir(follow_symlinks=False):
                    folders.append(item.name)
                elif is_picture(item.name) and not item.is_dir():
                    files.append(item.name)
    except OSError:
        # Reading this entry will fail, and the failure name the folder; the rest goes on.
        yield Entry(prefix or os.path.basename(folder), folder)
        return
    stems = Counter(os.path.splitext(name)[0] for name in files)
    for name in sorted(files, key=natural_key):
        stem = os.path.splitext(name)[0]
        yield Entry(prefix + (stem if stems[stem] == 1 else name), os.path.join(folder, name))
    for name in sorted(folders, key=natural_key):
        below = os.path.join(folder, name)
        if skipped is None or os.path.realpath(below) != skipped:
            yield from _walk(below, f"{prefix}{name}/", skipped)


def is_pattern(text: str) -> bool:
    """Whether it is a pattern such as `drive_*/**/*.png`, and no file of that name."""
    return _PATTERN.search(text) is not None and not os.path.exists(text)


def before_pattern(text: str) -> str:
    """A path that stands for all that a pattern matches: as deep as all of it is the same."""
    found = _PATTERN.search(text)
    return text if found is None else text[: found.start()] + "*"


def matches_of(pattern: str) -> list[str]:
    """Files that a pattern matches, naturally sorted."""
    found = (path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path))
    return sorted(found, key=natural_key)


def read_list(path: Path) -> Iterator[str]:
    """The lines of a list file: paths relative to its folder, or absolute, or URLs.

    Empty lines and those that begin with `#` are passed over.

    Raises:
        ValueError: the file is not text.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                text = line.strip()
                if text and not text.startswith("#"):
                    yield text if "://" in text else str(path.parent / text)
    except UnicodeDecodeError as error:
        raise ValueError(f"list {path}: expected UTF-8 text with a path on each line") from error


def common_folder(paths: Iterator[str]) -> str:
    """The deepest folder that holds all paths, made absolute; `` where there are none."""
    common = ""
    for path in paths:
        folder = os.path.dirname(os.path.abspath(path))
        if not common:
            common = folder
        elif folder != common and not folder.startswith(common.rstrip(os.sep) + os.sep):
            common = os.path.commonpath([common, folder])
    return common


class UniqueNames:
    """Gives each picture a name that no other has, in one pass and bounded memory."""

    def __init__(self) -> None:
        self._taken = NameSet()

    def __call__(self, name: str, number: int, suffix: str = "") -> str:
        """`name`, or with the suffix where that is taken, or with its number."""
        for candidate in (name, name + suffix, f"{name}_{number}"):
            if self._taken.add(candidate):
                return candidate
        return self(f"{name}_{number}_", number)
