"""`open_frames`: images, folders, lists, videos, cameras and URLs as one stream of frames.

street.png                     one image; so is an array (H, W, 3) uint8 BGR
photos/                        its images and those of its subfolders, naturally sorted
'drive_*/left/*.png'           a pattern; `**` matches subfolders
images.txt                     a path per line, relative to the file
drive.mp4                      a video
0                              a camera
rtsp://...  http://...         a stream; with the suffix of an image format, one image
[...]                          any of these, one after the other
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ood_seg.io.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    checked_image,
)
from ood_seg.perception.core.types import Failure, Frame, FrameSource
from ood_seg.perception.io import listings
from ood_seg.perception.io.captures import (
    LiveSource,
    VideoSource,
    open_stream,
    stream_name,
)
from ood_seg.perception.io.listings import Entry, UniqueNames, is_image_file, safe_name
from ood_seg.perception.io.still_images import ImageSource, SourceOptions, Wanted

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
_LIST_SUFFIX = ".txt"
_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES | {_LIST_SUFFIX}


def open_frames(
    source: Any,
    *,
    wanted: Wanted | None = None,
    skip: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> FrameSource:
    """Open anything that contains images.

    Args:
        source: see the top of the module. A `FrameSource` is returned as it is.
        wanted: called with the name of an image, or of a whole video; if it returns False, that
            image or video is not opened. Indices count it nevertheless.
        skip: a folder that is not searched.
        max_pixels: larger images become failures.

    Raises:
        FileNotFoundError: no such file, or no file matches the pattern.
        ValueError: an unknown kind of source, an empty folder, or a video or camera that cannot be
            read. Once the source is open, images that cannot be used become `Failure`s.
        TypeError: a value of another type, such as a tensor or a list that contains one.
    """
    if isinstance(source, FrameSource):
        return source
    skip = None if skip is None else Path(skip)
    options = SourceOptions(wanted or (lambda _name: True), skip, max_pixels)
    if isinstance(source, (str, Path, int, np.ndarray)):
        return _open_one(source, None, options)
    for element in (source, *(source if isinstance(source, (list, tuple)) else ())):
        if hasattr(element, "__dlpack__") and not isinstance(element, np.ndarray):
            raise TypeError(
                f"source: expected a path or a NumPy array (H, W, 3) uint8 in BGR order, got "
                f"{type(element).__name__}; of a tensor (3, H, W) in RGB order: "
                "tensor.flip(0).permute(1, 2, 0).cpu().numpy(), brought to 0..255 and uint8"
            )
    if isinstance(source, Iterable) and not isinstance(source, bytes):
        return ListSource(source, options)
    raise TypeError(
        "source: expected a path, an array, a camera number, a URL or a list of them, got "
        f"{type(source).__name__}"
    )


class ListSource(FrameSource):
    """Sources one after the other; those that cannot be opened become failures.

    Images are named after their path below the common folder of all elements; frames of other
    elements after that path and their own name; arrays after their position in the list. A pattern
    is replaced by the files that it matches.

    Args:
        elements: see the top of the module.
        options: see `open_frames`.
        name: prefix of all names; None for no prefix.
    """

    def __init__(
        self, elements: Iterable[Any], options: SourceOptions, name: str | None = None
    ) -> None:
        self._elements, self._options = elements, options
        self._prefix = "" if name is None else f"{name}/"
        # A generator can be read only once, so it is neither counted nor searched beforehand.
        self._repeatable = iter(elements) is not elements
        paths = (os.fspath(e) for e in elements if _is_path(e)) if self._repeatable else iter(())
        self._root = listings.common_folder(map(listings.before_pattern, paths))
        self._count: int | None = None

    @property
    def count(self) -> int | None:
        """Sum over the elements; None if one is endless or elements can be read only once."""
        if self._count is None and self._repeatable:
            counts: list[int | None] = []
            others: Counter[str] = Counter()
            for opened in self._open():
                if isinstance(opened, (Frame, Failure)):
                    counts.append(1)
                    continue
                counts.append(opened.count)
                others.update(opened.other_files)
            self._count = None if None in counts else sum(filter(None, counts))
            self.other_files = others
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
            name = f"{number:06d}" if isinstance(element, np.ndarray) else str(element)
            try:
                name = self._prefix + self._name(element, number, unique)
                opened: FrameSource | Failure = _open_one(element, name, self._options)
            except Exception as error:  # any element may fail alone
                if not self._options.wanted(name):
                    continue
                opened = Failure.of(error, name, number)
            yield opened

    def _expanded(self) -> Iterator[Any]:
        """The elements, with patterns replaced by the files that they match."""
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


def suffix_counts(others: Mapping[str, int]) -> str:
    """Files by suffix as text: `3 .heic, 1 .txt`, the most frequent first."""
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {suffix or 'without suffix'}" for suffix, number in ordered)


def is_one_video(source: str) -> bool:
    """Whether the text names a video, camera or stream, judging by the text only."""
    if "://" in source:
        return not is_image_file(urlsplit(source).path)
    return source.isdigit() or os.path.splitext(source)[1].lower() in VIDEO_SUFFIXES


def is_bag(source: Any) -> bool:
    """Whether it is a ROS bag: a rosbag2 folder, or a .mcap, .db3 or .bag file."""
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source)
    metadata = path / "metadata.yaml"
    # os.path, unlike Path, raises no error for names that are too long.
    if os.path.isfile(metadata):
        return "rosbag2_bagfile_information" in metadata.read_text(errors="replace")
    return path.suffix in (".mcap", ".db3", ".bag") and os.path.isfile(path)


def _is_path(element: Any) -> bool:
    return isinstance(element, (str, Path)) and "://" not in os.fspath(element)


def _open_one(source: Any, name: str | None, options: SourceOptions) -> FrameSource:
    """Open a source that is not a list; `name` prefixes its frames, None for a single source."""
    if isinstance(source, np.ndarray):
        checked_image(source)  # an unsuitable array raises at once
        return _single(name or "image", source, options)
    text = os.fspath(source) if isinstance(source, (str, Path)) else str(source)
    if "://" in text:
        return _open_url(text, name or safe_name(stream_name(text)), options)
    if text.isdigit() and not os.path.exists(text):
        return LiveSource(int(text), name or f"camera{text}")
    suffix = os.path.splitext(text)[1].lower()
    if name is not None and is_image_file(text):
        # Long lists of images are not looked up in the file system before they are read.
        return _single(name, text, options)
    path = Path(text).expanduser()
    if os.path.isdir(path):  # unlike Path.is_dir, raises no error for names that are too long
        return _open_folder(path, name, options)
    if not os.path.exists(path):
        return _open_pattern(text, options)
    stem = name or path.stem
    if suffix == _LIST_SUFFIX:
        return ListSource(listings.ListFile(path), options, name)
    if suffix in VIDEO_SUFFIXES:
        return VideoSource(str(path), stem) if options.wanted(stem) else ListSource([], options)
    return _single(stem, str(path), options)


def _single(name: str, image: str | np.ndarray, options: SourceOptions) -> ImageSource:
    return ImageSource(lambda: [Entry(name, image)], options, single=True)


def _open_folder(folder: Path, name: str | None, options: SourceOptions) -> FrameSource:
    prefix = "" if name is None else f"{name}/"

    others: Counter[str] = Counter()

    def entries() -> Iterator[Entry]:
        others.clear()
        for below, path in listings.walk_folder(folder, options.skip, others):
            yield Entry(prefix + below, path)

    if options.skip is not None and os.path.realpath(options.skip) == os.path.realpath(folder):
        raise ValueError(f"{folder} is both input and output folder; give another output folder")
    if next(entries(), None) is None:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        found = f", only {suffix_counts(others)}" if others else ""
        raise ValueError(f"no images in {folder}{found}; expected files with a suffix of {known}")
    source = ImageSource(entries, options)
    source.other_files = others
    return source


def _open_pattern(text: str, options: SourceOptions) -> FrameSource:
    if not listings.is_pattern(text):
        raise FileNotFoundError(f"{text} does not exist; give an image, folder, video or list")
    matches = listings.matches_of(text)
    if not matches:
        raise FileNotFoundError(f"no file matches {text}")
    return ListSource(matches, options)


def _open_url(url: str, name: str, options: SourceOptions) -> FrameSource:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and is_image_file(parts.path):
        return _single(os.path.splitext(name)[0], url, options)
    return open_stream(url, name)
