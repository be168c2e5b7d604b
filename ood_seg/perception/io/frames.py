"""`open_frames`: pictures, folders, lists, videos, cameras and URLs as one stream of frames.

street.png                     one picture; so is an array (H, W, 3) uint8 BGR
photos/                        its pictures and those of folders below, naturally sorted
'drive_*/left/*.png'           a pattern; `**` matches folders below
pictures.txt                   a path on each line, relative to the file
drive.mp4                      a video
0                              a camera
rtsp://...  http://...         a stream; a URL that ends like a picture is one
[...]                          any of these, one after the other
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ood_seg.io.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    checked_image,
    decode_image,
    read_image,
)
from ood_seg.perception.core.types import Failure, Frame
from ood_seg.perception.io import listings
from ood_seg.perception.io.captures import (
    LiveSource,
    VideoSource,
    open_stream,
    shown_address,
    stream_name,
)
from ood_seg.perception.io.fetching import fetch
from ood_seg.perception.io.frame_source import FrameSource
from ood_seg.perception.io.listings import Entry, UniqueNames, is_picture, safe_name

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
_LIST_SUFFIX = ".txt"
_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {_LIST_SUFFIX}

Wanted = Callable[[str], bool]


def open_frames(
    source: Any,
    *,
    wanted: Wanted | None = None,
    skip: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> FrameSource:
    """Open anything that gives images.

    Args:
        source: see the top of the module. A `FrameSource` comes back as it is.
        wanted: told the name of a picture, or of a whole video; those it refuses are passed over
            and not even opened. Indices count them nevertheless.
        skip: a folder that is left out where folders are searched.
        max_pixels: larger pictures are failures.

    Raises:
        FileNotFoundError: no such file, or nothing matches the pattern.
        ValueError: nothing that is known here; an empty folder; a video or camera that cannot be
            read. Once it is open, what cannot be used becomes a `Failure` instead.
    """
    if isinstance(source, FrameSource):
        return source
    options = _Options(wanted, None if skip is None else Path(skip), max_pixels)
    if isinstance(source, (str, Path, int, np.ndarray)):
        return _open_one(source, None, options)
    if isinstance(source, Iterable) and not isinstance(source, bytes):
        return ListSource(source, options)
    raise TypeError(
        "source: expected a path, an array, a camera number, a URL or a list of them, got "
        f"{type(source).__name__}"
    )


class _Options:
    """What nested sources share."""

    def __init__(self, wanted: Wanted | None, skip: Path | None, max_pixels: int) -> None:
        self.wanted = wanted or (lambda _name: True)
        self.skip = skip
        self.max_pixels = max_pixels

    def read(self, picture: str | np.ndarray) -> np.ndarray:
        if isinstance(picture, np.ndarray):
            return checked_image(picture)
        if "://" in picture:
            content = fetch(picture, self.max_pixels)
            return decode_image(content, shown_address(picture), max_pixels=self.max_pixels)
        return read_image(picture, max_pixels=self.max_pixels)


class ImageSource(FrameSource):
    """Pictures that are read one by one.

    Args:
        entries: gives them anew each time it is called.
        options: see `open_frames`.
    """

    def __init__(self, entries: Callable[[], Iterable[Entry]], options: _Options) -> None:
        self._entries, self._options = entries, options
        self._count: int | None = None

    @property
    def count(self) -> int:
        """Number of pictures that are wanted; looks through all of them the first time."""
        if self._count is None:
            self._count = sum(self._options.wanted(entry.name) for entry in self._entries())
        return self._count

    def __iter__(self) -> Iterator[Frame | Failure]:
        for index, (name, picture) in enumerate(self._entries()):
            self.passed = index + 1
            if not self._options.wanted(name):
                continue
            try:
                image = self._options.read(picture)
            except (ValueError, FileNotFoundError) as error:
                yield Failure(name, str(error), index)
                continue
            yield Frame(image, name, index)


class ListSource(FrameSource):
    """Sources one after the other; those that cannot be opened are failures.

    Pictures are called after their path below the folder that all elements share, frames of other
    elements after that and their own name; arrays by their number in the list. Patterns count as
    the files that they match.

    Args:
        elements: see the top of the module.
        options: see `open_frames`.
        name: prefixes all names; None where there is nothing else.
    """

    def __init__(self, elements: Iterable[Any], options: _Options, name: str | None = None) -> None:
        self._elements, self._options = elements, options
        self._prefix = "" if name is None else f"{name}/"
        # One that can be read only once, such as a generator, is neither counted nor looked at.
        self._again = iter(elements) is not elements
        paths = (os.fspath(e) for e in elements if _is_path(e)) if self._again else iter(())
        self._root = listings.common_folder(map(listings.before_pattern, paths))
        self._count: int | None = None

    @property
    def count(self) -> int | None:
        """Sum over the elements; None where one has no end or elements can be read only once."""
        if self._count is None and self._again:
            counts = [1 if isinstance(one, (Frame, Failure)) else one.count for one in self._open()]
            self._count = None if None in counts else sum(counts)
        return self._count

    def __iter__(self) -> Iterator[Frame | Failure]:
        self.passed = 0
        for opened in self._open():
            if isinstance(opened, (Frame, Failure)):
                yield replace(opened, index=self.passed)
                self.passed += 1
                continue
            first = self.passed
            with opened:
                for outcome in opened:
                    self.passed = first + opened.passed
                    yield replace(outcome, index=first + outcome.index)
            self.passed = first + opened.passed

    def _open(self) -> Iterator[FrameSource | Frame | Failure]:
        unique = UniqueNames()
        for number, element in enumerate(self._expanded()):
            if isinstance(element, (Frame, Failure)):
                yield element
                continue
            try:
                name = self._prefix + self._name(element, number, unique)
                yield _open_one(element, name, self._options)
            except (ValueError, FileNotFoundError) as error:
                array = isinstance(element, np.ndarray)
                yield Failure(f"{number:06d}" if array else str(element), str(error), number)

    def _expanded(self) -> Iterator[Any]:
        """The elements, with the files that a pattern matches in its place."""
        for element in self._elements:
            pattern = _is_path(element) and listings.is_pattern(os.fspath(element))
            matches = listings.matches_of(os.fspath(element)) if pattern else []
            yield from matches or [element]

    def _name(self, element: Any, number: int, unique: UniqueNames) -> str:
        if isinstance(element, np.ndarray):
            return unique(f"{number:06d}", number)
        if not isinstance(element, (str, Path)):
            raise ValueError(f"element {number}: expected a path or array, got {element!r}")
        text = os.fspath(element)
        if "://" in text:
            return unique(safe_name(stream_name(text)), number)
        if self._root:
            text = os.path.relpath(os.path.abspath(text), self._root)
        stem, suffix = os.path.splitext(text)
        if suffix.lower() not in _SUFFIXES:  # a dot in the name of a folder
            stem, suffix = text, ""
        return unique(safe_name(stem), number, suffix)


def is_one_video(source: str) -> bool:
    """Whether the text names a video, camera or stream, as far as it tells."""
    if "://" in source:
        return not is_picture(urlsplit(source).path)
    return source.isdigit() or os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES


def _is_path(element: Any) -> bool:
    return isinstance(element, (str, Path)) and "://" not in os.fspath(element)


def _open_one(source: Any, name: str | None, options: _Options) -> FrameSource:
    """Open what is no list; `name` prefixes its frames, None where there is nothing else."""
    if isinstance(source, np.ndarray):
        checked_image(source)  # a single array of the wrong kind is told at once
        return ImageSource(lambda: [Entry(name or "image", source)], options)
    text = os.fspath(source) if isinstance(source, (str, Path)) else str(source)
    if "://" in text:
        return _open_url(text, name or safe_name(stream_name(text)), options)
    if text.isdigit() and not os.path.exists(text):
        return LiveSource(int(text), name or f"camera{text}")
    suffix = os.path.splitext(text)[1].lower()
    if name is not None and is_picture(text):
        # Within a list nothing is asked of the file system before it is read.
        return ImageSource(lambda: [Entry(name, text)], options)
    path = Path(text).expanduser()
    if os.path.isdir(path):  # unlike those of Path, it raises nothing
        return _open_folder(path, name, options)
    if not os.path.exists(path):
        return _open_pattern(text, options)
    stem = name or path.stem
    if suffix == _LIST_SUFFIX:
        return ListSource(_Lines(path), options, name)
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(str(path), stem) if options.wanted(stem) else ListSource([], options)
    return ImageSource(lambda: [Entry(stem, str(path))], options)


def _open_folder(folder: Path, name: str | None, options: _Options) -> FrameSource:
    prefix = "" if name is None else f"{name}/"

    def entries() -> Iterator[Entry]:
        for below, path in listings.walk_folder(folder, options.skip):
            yield Entry(prefix + below, path)

    if options.skip is not None and options.skip.resolve() == folder.resolve():
        raise ValueError(f"the outputs go into the folder of the images, {folder}; give another")
    if next(entries(), None) is None:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"no images in {folder}; expected files that end in {known}")
    return ImageSource(entries, options)


def _open_pattern(text: str, options: _Options) -> FrameSource:
    if not listings.is_pattern(text):
        raise FileNotFoundError(f"{text} does not exist; give a picture, folder, video or list")
    matches = listings.matches_of(text)
    if not matches:
        raise FileNotFoundError(f"no file matches {text}")
    return ListSource(matches, options)


def _open_url(url: str, name: str, options: _Options) -> FrameSource:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and is_picture(parts.path):
        return ImageSource(lambda: [Entry(os.path.splitext(name)[0], url)], options)
    return open_stream(url, name)


class _Lines:
    """The lines of a list file, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[str]:
        return listings.read_list(self._path)
