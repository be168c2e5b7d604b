"""Pairs of saved maps and their ground truth, by name; everything without a partner is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ood_seg.datasets.listing import (
    DATASET_IMAGE_SUFFIXES,
    Listing,
    composed,
    files_by_stem,
    require_no_problems,
    shorten,
)
from ood_seg.evaluation.saved_maps import SCORE_SUFFIXES

# Ends of published file names that describe the content of a file, not its image.
_ENDINGS = re.compile(
    r"(_labels?_semantic|_labels?|_labels?_?masks?|_gt(Fine|Coarse)(_label(Train)?Ids)?"
    r"|_label(Train)?Ids|_leftImg8bit|_scores?|_anomaly(_scores?)?|_rgb|_prediction)$"
)
# Coloured copies of labels are in the same folders as the labels.
_COLOURED = re.compile(r"(_color|_colou?red|_color_labels)$")


class MapPair(NamedTuple):
    """One image: its name, and the files of its scores and ground truth."""

    name: str
    scores: Path
    truth: Path


class Matches(NamedTuple):
    """Result of `match_maps`; `notes` are sentences on what was left out."""

    pairs: list[MapPair]
    notes: list[str]


def match_maps(
    scores: Path,
    truth: Path,
    *,
    strip: Sequence[str] = (),
    truth_suffix: str = ".png",
    allow_missing: bool = False,
) -> Matches:
    """Pair score maps with ground truth.

    The name of an image is its file name without suffix and without endings such as `_labels`,
    `_labels_semantic`, `_scores` or `_leftImg8bit`; for `NAME.labels/labels_semantic.png` it is
    NAME. Subfolders are searched, and belong to the name only where names repeat without them.

    Args:
        scores: folder of score maps, or one file.
        truth: folder of ground truth (`.png`), or one file.
        strip: regular expressions whose matches are removed from the names as well.
        truth_suffix: end of the ground truth files, where their folder holds other images too,
            such as `_labelTrainIds.png`.
        allow_missing: leave out what has no partner, with a note, instead of an error.

    Raises:
        FileNotFoundError: a folder or file does not exist.
        ValueError: no pair, a file without a partner, or two files of one name; all are listed.
    """
    if scores.is_file() and truth.is_file():
        return Matches([MapPair(image_name(scores.stem, strip), scores, truth)], [])
    found = [
        named_files(scores, SCORE_SUFFIXES, strip),
        named_files(truth, (truth_suffix,), strip),
    ]
    if any(len(files) > 1 for names in found for files in names.values()):
        found = [_with_folders(scores, found[0]), _with_folders(truth, found[1])]
    score_of, truth_of = found
    problems = [*_repeated("score map", score_of), *_repeated("ground truth file", truth_of)]
    alone = [
        *_without_partner("score maps", score_of, f"ground truth in {truth}", truth_of),
        *_without_partner("ground truth files", truth_of, f"a score map in {scores}", score_of),
    ]
    listed = [text + shorten(missing.values()) for text, missing in alone]
    pairs = [
        MapPair(name, score_of[name][0], truth_of[name][0])
        for name in sorted(score_of)
        if name in truth_of
    ]
    require_no_problems(
        Listing(
            [(pair.scores, pair.truth) for pair in pairs],
            problems + ([] if allow_missing else listed),
        ),
        name=f"{scores} and {truth}",
        remedy="Files are paired by name: --strip PATTERN removes more from the names, "
        "--truth-suffix selects the ground truth files, --allow-missing leaves out what has no "
        "partner.",
    )
    return Matches(pairs, [f"left out: {text}{shorten(missing)}" for text, missing in alone])


def _repeated(what: str, named: dict[str, list[Path]]) -> list[str]:
    """A sentence for each name that several files have."""
    return [
        f"more than one {what} named {name}: {shorten(files)}"
        for name, files in named.items()
        if len(files) > 1
    ]


def _without_partner(
    what: str, own: dict[str, list[Path]], partner: str, others: dict[str, list[Path]]
) -> list[tuple[str, dict[str, Path]]]:
    """Start of a sentence, and the files without a partner by name; empty where there is none."""
    missing = {name: files[0] for name, files in own.items() if name not in others}
    return [(f"{len(missing)} {what} without {partner}: ", missing)] if missing else []


def match_others(
    folder: Path, names: Sequence[str], *, suffixes: Sequence[str] = (".png",), strip=()
) -> dict[str, Path]:
    """Files of `folder` for the images `names`; those that have one.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: two files of one name.
    """
    return one_each(folder, named_files(folder, suffixes, strip), names)


def one_each(folder: Path, found: dict[str, list[Path]], names: Sequence[str]) -> dict[str, Path]:
    """The file of each of `names`; two of one name are an error."""
    if any(len(files) > 1 for files in found.values()):
        found = _with_folders(folder, found)
    twice = [str(path) for name in names for path in found.get(name, [])[1:]]
    if twice:
        raise ValueError(f"{folder}: more than one file for an image: {shorten(twice)}")
    return {name: found[name][0] for name in names if name in found}


def match_images(folder: Path, names: Sequence[str], *, strip=()) -> dict[str, Path]:
    """The image files of `names`, as `match_others`; label files in `NAME.labels` are left out."""
    return one_each(folder, named_images(folder, strip), names)


def named_images(folder: Path, strip: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Image files below a folder by image name, without label files in `NAME.labels`."""
    found = named_files(folder, DATASET_IMAGE_SUFFIXES, strip)
    images = {
        name: [path for path in files if path.parent.suffix != ".labels"]
        for name, files in found.items()
    }
    return {name: files for name, files in images.items() if files}


def image_name(stem: str, strip: Sequence[str] = ()) -> str:
    """A file's stem, in composed characters, without what does not name the image."""
    stem = composed(stem)
    for pattern in strip:
        try:
            stem = re.sub(pattern, "", stem)
        except re.error as error:
            raise ValueError(
                f"strip: {pattern!r} is no regular expression ({error}); a backslash takes the "
                "meaning off a character, as in \\("
            ) from error
    while (shorter := _ENDINGS.sub("", stem)) not in (stem, ""):
        stem = shorter
    return stem


def named_files(root: Path, suffixes: Sequence[str], strip: Sequence[str]) -> dict[str, list[Path]]:
    """Files below `root`, or `root` itself, by image name."""
    if root.is_file():
        return {image_name(root.stem, strip): [root]}
    if not root.is_dir():
        raise FileNotFoundError(f"folder {root} does not exist")
    named: dict[str, list[Path]] = {}
    for files in files_by_stem(root, suffixes, recursive=True).values():
        for path in files:
            if not _COLOURED.search(path.stem):
                named.setdefault(image_name(_own_stem(path), strip), []).append(path)
    return named


def _own_stem(path: Path) -> str:
    """The stem, or for the layout `NAME.labels/labels_semantic.png` the NAME."""
    return path.parent.stem if path.parent.suffix == ".labels" else path.stem


def _with_folders(root: Path, named: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """The same files, with the folders below `root` in their names."""
    longer: dict[str, list[Path]] = {}
    for name, files in named.items():
        for path in files:
            folder = path.parent if path.parent.suffix != ".labels" else path.parent.parent
            below = composed(folder.relative_to(root).as_posix()) if root.is_dir() else "."
            longer.setdefault(name if below == "." else f"{below}/{name}", []).append(path)
    return longer
