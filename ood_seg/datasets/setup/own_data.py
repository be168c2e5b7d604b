"""A folder of somebody's own images and masks: pairs, values, classes, label images and a split.

```
folder -> find_pairs -> count_values -> assigned (values to classes) -> write_labels, split
```

mmseg is not needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ood_seg.datasets.listing import pair_by_stem, require_no_problems, shorten
from ood_seg.datasets.setup.own_classes import Value, value_text
from ood_seg.datasets.setup.pair_checks import Track, untracked
from ood_seg.io.files import write_image
from ood_seg.io.image_headers import image_errors
from ood_seg.labels import IGNORE

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "JPEGImages", "leftImg8bit", "rgb")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "ann_dir", "SegmentationClass", "gtFine"),
    *("gt", "semantic", "segmentation"),
)
# What names of masks have after the name of their image.
_MASK_ENDINGS = ("", "_mask", "_masks", "_label", "_labels", "_labelIds", "_gt", "_L", "_seg")
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
# More colours than this come from a lossy format or from smoothed edges.
_MAX_COLOURS = 512


@dataclass(frozen=True)
class Pair:
    """An image and its mask; `name` is the path of the image below its folder, without suffix."""

    name: str
    image: Path
    mask: Path


@dataclass
class Values:
    """The values of all masks.

    Attributes:
        pixels: of each value.
        images: in which each value occurs.
        in_colour: whether the values are colours.
        shapes: heights and widths of the masks, one each.
    """

    pixels: Counter[Value]
    images: Counter[Value]
    in_colour: bool
    shapes: list[tuple[int, int]]

    def share(self, value: Value) -> float:
        """Share of all pixels."""
        return self.pixels[value] / max(1, sum(self.pixels.values()))


def find_pairs(data: Path, images: str | None = None, masks: str | None = None) -> list[Pair]:
    """Return the images and masks of a folder, naturally sorted by name.

    Args:
        data: with a folder of images and one of masks; both are searched with their subfolders.
        images: name of the first; None: one of `IMAGE_FOLDERS`.
        masks: name of the second; None: one of `MASK_FOLDERS`.

    Raises:
        FileNotFoundError: there are no such folders.
        ValueError: images without mask, masks without image, images of several formats.
    """
    if not data.is_dir():
        raise FileNotFoundError(f"data folder {data} not found")
    image_folder = data / (images or _only_folder(data, IMAGE_FOLDERS, "--images"))
    mask_folder = data / (masks or _only_folder(data, MASK_FOLDERS, "--masks"))
    endings = [ending + suffix for ending in _MASK_ENDINGS for suffix in _MASK_SUFFIXES]
    listing = pair_by_stem(image_folder, mask_folder, mask_suffixes=endings, recursive=True)
    remedy = (
        f"Images and masks are paired by name; masks are lossless: {', '.join(_MASK_SUFFIXES)}."
    )
    require_no_problems(listing, name=str(data), remedy=remedy)
    suffixes = Counter(image.suffix for image, _ in listing.pairs)
    if len(suffixes) > 1:
        found = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.items())
        raise ValueError(f"images of one dataset need one suffix, got {found} in {image_folder}")
    named = [
        Pair(image.relative_to(image_folder).with_suffix("").as_posix(), image, mask)
        for image, mask in listing.pairs
    ]
    return sorted(named, key=lambda pair: _natural(pair.name))


def _only_folder(data: Path, names: Sequence[str], option: str) -> str:
    found = [name for name in names if (data / name).is_dir()]
    if len(found) == 1:
        return found[0]
    held = shorten(sorted(path.name for path in data.iterdir() if path.is_dir())) or "none"
    raise FileNotFoundError(
        f"{data}: expected one folder named {', '.join(names)}; its folders are: {held}; "
        f"give {option} FOLDER"
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def read_mask(path: Path, *, in_colour: bool | None = None) -> tuple[np.ndarray, bool]:
    """Return the values of a mask, and whether they are colours.

    Args:
        path: of a lossless image.
        in_colour: whether a palette image gives colours; None: indices.

    Returns:
        `(H, W)` int32, colours as `R * 65536 + G * 256 + B`.

    Raises:
        ValueError: not an image, or indices that are not 0..255; names the file.
    """
    with image_errors(path, "mask"), Image.open(path) as image:
        colour = image.mode not in _INDEX_MODES or (image.mode == "P" and bool(in_colour))
        pixels = np.array(image.convert("RGB") if colour else image).astype(np.int32)
    if colour:
        return pixels @ np.array([65536, 256, 1], np.int32), True
    if pixels.size and (pixels.min() < 0 or pixels.max() > IGNORE):
        raise ValueError(f"mask {path}: indices must be 0..255, got {pixels.min()}..{pixels.max()}")
    return pixels, False


def count_values(
    pairs: Sequence[Pair], *, in_colour: bool | None = None, track: Track = untracked
) -> Values:
    """Count the values of all masks.

    Args:
        pairs: whose masks are read.
        in_colour: see `read_mask`.
        track: shows the progress.

    Raises:
        ValueError: a mask cannot be read, has another size than its image, or has more colours
            than classes can have; or some masks have indices and others colours.
    """
    pixels: Counter[Value] = Counter()
    images: Counter[Value] = Counter()
    kinds: dict[bool, Path] = {}
    shapes = []
    for pair in track(pairs, total=len(pairs)):
        values, colour = read_mask(pair.mask, in_colour=in_colour)
        kinds.setdefault(colour, pair.mask)
        if len(kinds) > 1:
            raise ValueError(f"mask {kinds[True]} has colours, and {kinds[False]} has indices")
        with image_errors(pair.image, "image"), Image.open(pair.image) as image:
            size = image.size
        if values.shape != size[::-1]:
            raise ValueError(
                f"mask {pair.mask}: {values.shape[1]}x{values.shape[0]}, its image "
                f"{size[0]}x{size[1]}"
            )
        shapes.append(values.shape)
        found, counts = np.unique(values, return_counts=True)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            key = (value >> 16, value >> 8 & 255, value & 255) if colour else value
            pixels[key] += count
            images[key] += 1
        if len(pixels) > _MAX_COLOURS:
            raise ValueError(
                f"mask {pair.mask}: {len(pixels)} colours so far; masks must be saved without loss "
                "and without smoothed edges"
            )
    return Values(pixels, images, True in kinds, shapes)


def assigned(
    values: Values, classes: Mapping[str, Sequence[Value]], ignored: Sequence[Value] | None
) -> dict[Value, int]:
    """Return the label of every value that occurs.

    Args:
        values: of the masks.
        classes: see `parse_classes`.
        ignored: values without a class; None: all that have none. The index 255 always is, unless
            a class has it.

    Raises:
        ValueError: values without a class that are not ignored, each with its share; or classes
            with colours for masks of indices and the other way round.
    """
    labels = {value: index for index, held in enumerate(classes.values()) for value in held}
    given = next(iter(labels))
    if isinstance(given, tuple) != values.in_colour:
        example = value_text(max(values.pixels, key=values.pixels.__getitem__))
        kinds = ("colours", "an index") if values.in_colour else ("indices", "a colour")
        name = next(iter(classes))
        raise ValueError(
            f"the masks have {kinds[0]} and {name!r} is given {kinds[1]}; such as {name}={example}"
        )
    allowed = {IGNORE, *(ignored or ())}
    unknown = [value for value in values.pixels if value not in labels and value not in allowed]
    if unknown and ignored is not None:
        unknown.sort(key=values.pixels.__getitem__, reverse=True)
        named = ", ".join(f"{value_text(value)} ({values.share(value):.2%})" for value in unknown)
        texts = " ".join(f"'{value_text(value)}'" for value in unknown)
        raise ValueError(
            f"values that belong to no class: {named}; name them in --classes NAME=VALUE, or leave "
            f"their pixels out of training and evaluation: --ignore {texts}"
        )
    return {value: labels.get(value, IGNORE) for value in values.pixels}


def write_labels(
    pairs: Sequence[Pair],
    labels: Mapping[Value, int],
    folder: Path,
    *,
    in_colour: bool,
    track: Track = untracked,
) -> None:
    """Write the masks as label images `NAME.png` with the labels 0..C-1 and 255.

    Args:
        pairs: whose masks are read.
        labels: of every value, see `assigned`.
        folder: to write to.
        in_colour: whether the values are colours.
        track: shows the progress.
    """
    codes = {
        value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]: label
        for value, label in labels.items()
    }
    known = np.array(sorted(codes))
    table = np.array([codes[code] for code in known.tolist()], np.uint8)
    for pair in track(pairs, total=len(pairs)):
        raw, _ = read_mask(pair.mask, in_colour=in_colour)
        write_image(folder / f"{pair.name}.png", table[np.searchsorted(known, raw)])


def split(
    names: Sequence[str], *, val_share: float, seed: int
) -> tuple[dict[str, list[str]], bool]:
    """Return the names of `train` and `val`, and whether their folders state the division.

    Args:
        names: of the images. If all lie below `train` and `val`, that is the division.
        val_share: of the images otherwise, chosen by the seed; at least one.
        seed: the same seed and names give the same division.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than two images.
    """
    folders = [_SPLIT_FOLDERS.get(name.partition("/")[0]) for name in names]
    if None not in folders and len(set(folders)) == 2:
        parts: dict[str, list[str]] = {"train": [], "val": []}
        for name, folder in zip(names, folders, strict=True):
            parts[str(folder)].append(name)
        return parts, True
    if not 0 < val_share < 1 or len(names) < 2:
        raise ValueError(
            f"expected at least 2 images and a share for validation between 0 and 1, got "
            f"{len(names)} and {val_share}"
        )
    count = min(len(names) - 1, max(1, round(val_share * len(names))))
    chosen = set(np.random.default_rng(seed).permutation(len(names))[:count].tolist())
    parts = {"train": [], "val": []}
    for index, name in enumerate(names):
        parts["val" if index in chosen else "train"].append(name)
    return parts, False
