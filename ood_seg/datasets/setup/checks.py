"""Checking data sets on disk, file by file, without building them in mmseg.

`check_pairs` reads every mask and every image header and says what it found and what is wrong;
`set_checks.check_set` does so for one published set. Nothing here raises for bad data.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

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

FOUND, MISSING, PROBLEMS = "found", "missing", "problems"

_END_MARKS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
_TAIL = 64


@dataclass
class Report:
    """What is known of one data set after a check.

    `found` and `problems` are sentences; `remedy` says what to do where the set is missing or
    has problems.
    """

    name: str
    folder: Path
    found: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remedy: str = ""
    is_missing: bool = False

    @property
    def state(self) -> str:
        """'missing', 'problems' or 'found'."""
        if self.is_missing:
            return MISSING
        return PROBLEMS if self.problems else FOUND


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
    """Raise a ValueError if an image file is cut off.

    A file that ends in the end mark of its format is taken as whole, any other is decoded.
    """
    mark = _END_MARKS.get(path.suffix.lower())
    if mark is not None:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            if mark in file.read():
                return
    read_image(path, grey_ok=True)


def check_pair(image: Path, mask: Path, known: np.ndarray, *, quick: bool = False) -> PairCheck:
    """Check one image against its mask.

    Args:
        image: read as a header, and to its end mark.
        mask: decoded, unless `quick`.
        known: (256,) bool, the label values that may occur.
        quick: look at both headers alone.
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
    except ValueError as error:
        result.faults["images that cannot be read"] = str(error)
    try:
        if quick:
            mask_size = image_header(mask)[:2]
        else:
            raw = decode_label_image(mask.read_bytes(), mask)
            mask_size = raw.shape
            result.counts = np.bincount(raw.ravel(), minlength=256)
    except (ValueError, OSError) as error:
        result.faults["masks that cannot be read"] = str(error)
    strange = unknown_values(result.counts, known)
    if strange:
        result.faults["masks with unknown values"] = f"{mask}: {strange}"
    if result.size and mask_size and result.size != mask_size:
        result.faults["masks of another size than their image"] = (
            f"{mask} (height, width) {mask_size}, its image {result.size}"
        )
    return result


def check_pairs(
    listing: Listing,
    label_map: Mapping[int, int],
    *,
    expected_count: int | None = None,
    required: Iterable[int] = (),
    quick: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> tuple[str, list[str]]:
    """Check every pair of a listing.

    Args:
        listing: pairs, and the problems met when they were listed.
        label_map: raw value -> label; other raw values are a problem.
        expected_count: number of pairs that there must be.
        required: labels of which there must be a pixel somewhere (an evaluation set without
            any anomaly has no AUROC).
        quick: look at headers alone.
        advance: called after each pair, for a progress bar.

    Returns:
        One line on what there is, and the problems, each a sentence.
    """
    table, known = label_table(label_map)
    problems = listing.problems + count_problems(listing, expected_count)
    counts = np.zeros(256, dtype=np.int64)
    sizes: Counter = Counter()
    faults: dict[str, list[str]] = {}
    # Threads, because pillow decodes outside the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for result in pool.map(
            lambda pair: check_pair(*pair, known=known, quick=quick), listing.pairs
        ):
            counts += result.counts
            sizes[result.size] += 1
            for kind, text in result.faults.items():
                faults.setdefault(kind, []).append(text)
            advance()
    problems += [
        f"{len(texts)} {kind}: {shorten(texts, separator='; ')}" for kind, texts in faults.items()
    ]
    labels = np.bincount(table, weights=counts * known, minlength=256)
    if not quick and listing.pairs:
        absent = [label for label in required if not labels[label]]
        problems += [f"no mask has a pixel of label {label}" for label in absent]
    return _describe(listing, sizes, counts, quick), problems


def _describe(listing: Listing, sizes: Counter, counts: np.ndarray, quick: bool) -> str:
    sizes = Counter({size: number for size, number in sizes.items() if size})
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        of_size = f" of {width}x{height}"
    else:
        of_size = f" of {len(sizes)} sizes" if sizes else ""
    values = value_ranges(np.flatnonzero(counts))
    with_values = "" if quick or not values else f", values {values}"
    return f"{len(listing.pairs)} pairs{of_size}{with_values}"


def check_images(
    paths: Iterable[Path], *, quick: bool = False, advance: Callable[[], None] = lambda: None
) -> list[str]:
    """Check that images are there and whole; return the problems."""
    missing, broken = [], []
    for path in paths:
        try:
            if not path.is_file():
                missing.append(path)
            elif not quick:
                image_header(path)
                require_whole(path)
        except ValueError as error:
            broken.append(str(error))
        advance()
    problems = [f"{len(missing)} listed images not found: {shorten(missing)}"] if missing else []
    if broken:
        problems.append(
            f"{len(broken)} images that cannot be read: {shorten(broken, separator='; ')}"
        )
    return problems


def check_checkpoint(path: Path, *, quick: bool = False) -> str | None:
    """Return what is wrong with a checkpoint file, or None; its content is never executed."""
    if path.stat().st_size == 0:
        return f"{path} is empty; fetch it again"
    if not zipfile.is_zipfile(path):
        # torch < 1.6 wrote plain pickles, which hold no checksum; so do cut-off archives.
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        return f"{path} is cut off; fetch it again" if is_archive else None
    if quick:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return f"{path} is damaged ({error}); fetch it again"
    return f"{path} is damaged at {damaged}; fetch it again" if damaged else None
