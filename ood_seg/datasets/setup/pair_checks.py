"""Checking images and masks on disk, file by file. Nothing here raises for bad data."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ood_seg.datasets.label_images import (
    decode_label_image,
    label_table,
    unknown_values,
    value_ranges,
)
from ood_seg.datasets.listing import Listing, count_problems, shorten
from ood_seg.io.image_headers import ImageHeader, read_header
from ood_seg.io.images import read_image

_END_MARKS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
_TAIL_BYTES = 64
_PNG_DEPTH = 24  # the byte of a PNG that states its bits per channel
_OTHER_SIZE = "masks of another size than their image"

_T = TypeVar("_T")


class Track(Protocol):
    """Passes items on and shows the progress, as `rich.progress.Progress.track` does."""

    def __call__(self, items: Iterable[_T], total: int | None = None) -> Iterable[_T]: ...


def untracked(items: Iterable[_T], total: int | None = None) -> Iterable[_T]:
    """Pass items on and show nothing."""
    return items


@dataclass
class PairCheck:
    """Findings on one image and mask: pixels of each value, image size, faults by kind."""

    counts: np.ndarray
    size: tuple[int, int] | None = None
    faults: dict[str, str] = field(default_factory=dict)


def image_header(path: Path) -> ImageHeader:
    """Read the header of an image file.

    Raises:
        ValueError: not an image; names the file.
        ImportError: Pillow is not installed.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file, path)
    except OSError as error:
        raise ValueError(f"image {path}: cannot be read ({error.strerror})") from error
    if header is None:
        raise ImportError("checking images needs Pillow", name="PIL")
    return header


def require_whole(path: Path) -> None:
    """Raise a ValueError if an image file is cut off, or has 16 bits.

    A file that ends in the end mark of its format is taken as whole; any other, and a PNG of 16
    bits, which loaders refuse, is decoded.
    """
    mark = _END_MARKS.get(path.suffix.lower())
    if mark is not None:
        with path.open("rb") as file:
            start = file.read(_PNG_DEPTH + 1)
            is_deep = start[12:16] == b"IHDR" and start[_PNG_DEPTH:] == b"\x10"
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            if mark in file.read() and not is_deep:
                return
    read_image(path, grey_ok=True)


def check_pair(image: Path, mask: Path, known: np.ndarray, *, quick: bool = False) -> PairCheck:
    """Check one image against its mask.

    Args:
        image: its header is read, and its end mark.
        mask: decoded, unless `quick`.
        known: (256,) bool, the label values that may occur.
        quick: read both headers only.
    """
    result = PairCheck(np.zeros(256, dtype=np.int64))
    mask_size = None
    try:
        header = image_header(image)
        result.size = header.shape
        if header.orientation != 1:
            result.faults["images with an EXIF orientation"] = (
                f"{image} ({header.orientation}): state in the config whether labels belong to the "
                "turned or the stored pixels, LoadCheckedImage(labels_drawn_on=...)"
            )
        if not quick:
            require_whole(image)
    except Exception as error:  # such as a MemoryError, or a disk that cannot be read
        result.faults["images that cannot be read"] = _reason(error, image)
    try:
        if quick:
            mask_size = image_header(mask)[:2]
        else:
            raw = decode_label_image(mask.read_bytes(), mask)
            mask_size = raw.shape
            result.counts = np.bincount(raw.ravel(), minlength=256)
    except Exception as error:
        result.faults["masks that cannot be read"] = _reason(error, mask)
    if unknown := unknown_values(result.counts, known):
        result.faults["masks with unknown values"] = f"{mask}: {unknown}"
    if result.size and mask_size and result.size != mask_size:
        result.faults[_OTHER_SIZE] = f"{mask} (height, width) {mask_size}, its image {result.size}"
    return result


def _reason(error: Exception, path: Path) -> str:
    """The message of an error, which names the file."""
    text = str(error)
    return text if str(path) in text else f"{path}: {type(error).__name__} {text}".rstrip()


def check_pairs(
    listing: Listing,
    label_map: Mapping[int, int],
    *,
    expected_count: int | None = None,
    required: Iterable[int] = (),
    is_fitted: bool = False,
    quick: bool = False,
    track: Track = untracked,
) -> tuple[str, list[str]]:
    """Check every pair of a listing.

    Args:
        listing: pairs, and the problems met when they were listed.
        label_map: raw value -> label; other raw values are a problem.
        expected_count: number of pairs that there must be.
        required: labels of which there must be a pixel somewhere (an evaluation set without
            any anomaly has no AUROC).
        is_fitted: masks of another size than their image are mentioned, not a problem.
        quick: read headers only.
        track: shows the progress.

    Returns:
        One line on what there is, and the problems, each a sentence.
    """
    table, known = label_table(label_map)
    problems = listing.problems + count_problems(listing, expected_count)
    counts = np.zeros(256, dtype=np.int64)
    sizes: Counter = Counter()
    faults: dict[str, list[str]] = defaultdict(list)
    # Threads, because decoding releases the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        checks = pool.map(
            lambda pair: check_pair(pair[0], pair[1], known, quick=quick), listing.pairs
        )
        for check in track(checks, total=len(listing.pairs)):
            counts += check.counts
            sizes[check.size] += 1
            for kind, text in check.faults.items():
                faults[kind].append(text)
    fitted = len(faults.pop(_OTHER_SIZE, ())) if is_fitted else 0
    problems += [
        f"{len(texts)} {kind}: {shorten(texts, separator='; ')}" for kind, texts in faults.items()
    ]
    labels = np.bincount(table, weights=counts * known, minlength=256)
    if not quick and listing.pairs:
        absent = [label for label in required if not labels[label]]
        problems += [f"no mask has a pixel of label {label}" for label in absent]
    note = f", {fitted} {_OTHER_SIZE} (see fit_to_image of LoadCheckedLabels)" if fitted else ""
    return _description(listing, sizes, counts) + note, problems


def _description(listing: Listing, sizes: Counter, counts: np.ndarray) -> str:
    del sizes[None]
    of_size = f" of {len(sizes)} sizes" if sizes else ""
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        of_size = f" of {width}x{height}"
    values = value_ranges(np.flatnonzero(counts))
    return f"{len(listing.pairs)} pairs{of_size}" + (f", values {values}" if values else "")


def check_images(paths: list[Path], *, quick: bool = False, track: Track = untracked) -> list[str]:
    """Check that images exist and are whole; return the problems."""
    missing, broken = [], []
    for path in track(paths, total=len(paths)):
        try:
            if not path.is_file():
                missing.append(path)
            elif not quick:
                image_header(path)
                require_whole(path)
        except Exception as error:
            broken.append(_reason(error, path))
    problems = [f"{len(missing)} listed images not found: {shorten(missing)}"] if missing else []
    if broken:
        listed = shorten(broken, separator="; ")
        problems.append(f"{len(broken)} images that cannot be read: {listed}")
    return problems
