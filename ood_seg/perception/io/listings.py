"""Images of a folder, a pattern or a list file, in order, and their names."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ood_seg.io.images import IMAGE_SUFFIXES

_PATTERN = re.compile(r"[*?[]")
_NUMBER = re.compile(r"(\d+)")
_SEPARATORS = re.compile(r"[\\/]+")
_UNSAFE = re.compile(r'[\x00-\x1f<>:"|?*]')


class Entry(NamedTuple):
    """An image that is not read yet.

    Attributes:
        name: see `Frame.name`.
        image: path or URL of the file, the array, or why a folder could not be searched.
    """

    name: str
    image: str | np.ndarray | OSError


def natural_key(name: str) -> tuple[list, str]:
    """Sort key that orders `frame2` before `frame10`."""
    parts = _NUMBER.split(name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def safe_name(text: str) -> str:
    """Return `text` as a relative path that cannot leave the folder it is joined to."""
    parts = [part for part in _SEPARATORS.split(text) if part not in ("", ".")]
    safe = ["__" if part == ".." else _UNSAFE.sub("_", part) for part in parts]
    return "/".join(safe) or "image"


def is_image_file(path: str) -> bool:
    """Whether the path has the suffix of an image format."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def walk_folder(
    folder: Path, skip: Path | None = None, others: Counter[str] | None = None
) -> Iterator[Entry]:
    """Images of a folder and its subfolders, naturally sorted, one folder in memory at a time.

    Hidden files and folders are skipped, links to folders not followed. Names are paths below
    `folder` without suffix; images that differ only in their suffix keep it (`a.jpg`, `a.png`). A
    folder that cannot be searched is an entry with the error, beside what has been found in it.

    Args:
        folder: searched.
        skip: a folder that is not searched, such as the output folder.
        others: counts the files that are not images, by suffix in lower case.
    """
    skipped = None if skip is None else os.path.realpath(skip)
    below = [(str(folder), "")]
    while below:
        path, prefix = below.pop()
        if skipped is not None and os.path.realpath(path) == skipped:
            continue
        content = _content_of(path, Counter() if others is None else others)
        if content.error is not None:
            yield Entry(prefix.rstrip("/") or os.path.basename(path), content.error)
        stems = Counter(os.path.splitext(name)[0] for name in content.files)
        for name in sorted(content.files, key=natural_key):
            stem = os.path.splitext(name)[0]
            yield Entry(prefix + (stem if stems[stem] == 1 else name), os.path.join(path, name))
        for name in sorted(content.folders, key=natural_key, reverse=True):
            below.append((os.path.join(path, name), f"{prefix}{name}/"))


class _Content(NamedTuple):
    """Names in a folder; `error` if they may not be all."""

    folders: list[str]
    files: list[str]
    error: OSError | None


def _content_of(folder: str, others: Counter[str]) -> _Content:
    """Visible folders and images in a folder; other files are counted in `others` by suffix."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as content:
            for item in content:
                if item.name.startswith("."):
                    continue
                if _is_folder(item, follow_links=False):
                    folders.append(item.name)
                elif _is_folder(item, follow_links=True):
                    continue
                elif is_image_file(item.name):
                    files.append(item.name)
                else:
                    others[os.path.splitext(item.name)[1].lower()] += 1
    except OSError as error:
        return _Content(folders, files, error)
    return _Content(folders, files, None)


def _is_folder(item: os.DirEntry, *, follow_links: bool) -> bool:
    """False as well for an entry that cannot be examined, such as a link to itself."""
    try:
        return item.is_dir(follow_symlinks=follow_links)
    except OSError:
        return False


def is_pattern(text: str) -> bool:
    """Whether the text is a pattern such as `drive_*/**/*.png` and not the name of a file."""
    return _PATTERN.search(text) is not None and not os.path.exists(text)


def before_pattern(text: str) -> str:
    """The fixed beginning of a pattern, followed by `*`; other paths as they are."""
    found = _PATTERN.search(text)
    return text if found is None else text[: found.start()] + "*"


def matches_of(pattern: str) -> list[str]:
    """The files that match a pattern, naturally sorted.

    A file that `**` finds in several ways, such as through a link to a folder above, is given once,
    with its shortest path.
    """
    found = [path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path)]
    if "**" in pattern:
        first: dict[tuple[str, str], str] = {}
        for path in sorted(found, key=len):
            folder, name = os.path.split(path)
            first.setdefault((os.path.realpath(folder), name), path)
        found = list(first.values())
    return sorted(found, key=natural_key)


class ListFile:
    """The lines of a text file: paths relative to its folder, absolute paths, or URLs.

    Empty lines and lines that begin with `#` are skipped. Each iteration reads the file again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        Raises:
            ValueError: the file is not text.
        """
        try:
            with self._path.open(encoding="utf-8-sig") as lines:
                for line in lines:
                    text = line.strip()
                    if text and not text.startswith("#"):
                        yield text if "://" in text else str(self._path.parent / text)
        except UnicodeDecodeError as error:
            raise ValueError(f"list {self._path}: expected UTF-8 text, a path per line") from error


def common_folder(paths: Iterator[str]) -> str:
    """The deepest folder that contains all paths, as an absolute path; empty without paths."""
    common = ""
    for path in paths:
        folder = os.path.dirname(os.path.abspath(path))
        if not common:
            common = folder
        elif folder != common and not folder.startswith(common.rstrip(os.sep) + os.sep):
            common = os.path.commonpath([common, folder])
    return common


class UniqueNames:
    """Returns a different name for each image."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, name: str, number: int, suffix: str = "") -> str:
        """The name; if it is taken, with the suffix; if that is taken, with the number."""
        for candidate in (name, name + suffix, f"{name}_{number}"):
            if candidate not in self._taken:
                self._taken.add(candidate)
                return candidate
        return self(f"{name}_{number}_", number)
