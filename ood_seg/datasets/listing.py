"""Finding image and mask pairs on disk; everything that is wrong is reported at once.

Problems are collected as sentences instead of being raised, so that a user can repair a folder in
one go. mmseg is not needed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Without TIFF, as score maps are saved as such, perhaps in the same folder; in order of preference.
DATASET_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_NAMES_SHOWN = 20


@dataclass
class Listing:
    """Pairs of image and mask found, and the problems met, each a sentence that names files.

    `notes` are sentences on files that are left out as intended.
    """

    pairs: list[tuple[Path, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def shorten(names: Iterable[object], shown: int = _NAMES_SHOWN, *, separator: str = ", ") -> str:
    """Join names; of those beyond `shown` only the number is given."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return separator.join(texts[:shown]) + more


def files_by_stem(
    folder: Path, suffixes: str | Sequence[str] = DATASET_IMAGE_SUFFIXES, *, recursive: bool = False
) -> dict[str, list[Path]]:
    """Map each file name without its suffix to the files that carry it, sorted.

    Names are compared as people read them, see `composed`.

    Args:
        folder: an existing folder.
        suffixes: ending or endings to look for, longer than the file type if need be
            (`_labels_semantic.png`); letter case is ignored.
        recursive: also in subfolders; the key is then the relative path, with `/`.
    """
    endings = sorted((suffix.lower() for suffix in _each(suffixes)), key=len, reverse=True)
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        # A leading dot marks what systems leave behind (`._0.png`), not an image.
        ending = next((e for e in endings if path.name.lower().endswith(e)), None)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        stem = path.relative_to(folder).as_posix()[: -len(ending)]
        found.setdefault(composed(stem), []).append(path)
    return found


def composed(name: str) -> str:
    """Return a name with accents as one character each (Unicode NFC).

    macOS and some archives store `é` as two characters (NFD), so that files of two folders look
    equal and are not.
    """
    return unicodedata.normalize("NFC", name)


def as_spelled(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder, whose name may store accents differently there.

    Args:
        folder: where the file is.
        name: with folders of its own, or without; see `composed`.

    Returns:
        `folder / name` if that exists, or if no other spelling of `name` does.
    """
    path = folder / name
    if name.isascii() or path.exists():
        return path
    spellings = (folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((one for one in spellings if one.exists()), path)


def _each(suffixes: str | Sequence[str]) -> Sequence[str]:
    return (suffixes,) if isinstance(suffixes, str) else suffixes


def missing_folders(*folders: Path) -> list[str]:
    """Return one problem for each folder that does not exist, without repetition."""
    return [
        f"folder not found: {folder}" for folder in dict.fromkeys(folders) if not folder.is_dir()
    ]


def pair_by_stem(
    image_folder: Path,
    mask_folder: Path,
    *,
    image_suffixes: str | Sequence[str] = DATASET_IMAGE_SUFFIXES,
    mask_suffixes: str | Sequence[str] = ".png",
    recursive: bool = False,
    unlabelled_ok: bool = False,
) -> Listing:
    """Pair every image with the mask of the same stem.

    Problems: a folder that does not exist, an image without mask (a note where `unlabelled_ok`),
    a mask without image, two files of one folder that share a stem.
    """
    problems = missing_folders(image_folder, mask_folder)
    notes: list[str] = []
    if problems:
        return Listing(problems=problems)
    images = files_by_stem(image_folder, image_suffixes, recursive=recursive)
    masks = files_by_stem(mask_folder, mask_suffixes, recursive=recursive)
    for found in (images, masks):
        twice = [str(path) for paths in found.values() if len(paths) > 1 for path in paths]
        if twice:
            problems.append(f"more than one file with the same stem: {shorten(twice)}")
    without_mask = [str(images[stem][0]) for stem in images if stem not in masks]
    if without_mask and unlabelled_ok:
        notes.append(f"{len(without_mask)} images without a published mask are left out")
    elif without_mask:
        wanted = " or ".join("STEM" + suffix for suffix in _each(mask_suffixes))
        problems.append(
            f"{len(without_mask)} images without a mask ({wanted} in {mask_folder}): "
            f"{shorten(without_mask)}"
        )
    without_image = [str(masks[stem][0]) for stem in masks if stem not in images]
    if without_image:
        problems.append(
            f"{len(without_image)} masks without an image (in {image_folder}, "
            f"{', '.join(_each(image_suffixes))}): {shorten(without_image)}"
        )
    pairs = [(images[stem][0], masks[stem][0]) for stem in images if stem in masks]
    return Listing(pairs, problems, notes)


def count_problems(listing: Listing, expected_count: int | None) -> list[str]:
    """Return the problems of number: no pairs, or another number than expected."""
    found = len(listing.pairs)
    if expected_count is not None and found != expected_count:
        return [f"expected {expected_count} image and mask pairs, found {found}"]
    # If no file has a partner, this has been reported already.
    if found == 0 and not listing.problems:
        return ["no image and mask pairs found"]
    return []


def require_no_problems(
    listing: Listing, *, name: str, expected_count: int | None = None, remedy: str = ""
) -> None:
    """Raise if the listing has problems, all of them in one message.

    Raises:
        ValueError: the dataset's name, every problem on its own line, and the remedy.
    """
    problems = listing.problems + count_problems(listing, expected_count)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        remedy = (
            remedy or "Repair the files or the paths in the config; `ood-seg check-data` helps."
        )
        raise ValueError(f"{name}: {len(problems)} problem(s) on disk\n{lines}\n{remedy}")
