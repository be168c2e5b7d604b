"""Cut-out objects in a folder: listing and reading; mmseg is not needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ood_seg.datasets.label_images import decode_label_image
from ood_seg.datasets.listing import (
    DATASET_IMAGE_SUFFIXES,
    Listing,
    files_by_stem,
    missing_folders,
    pair_by_stem,
    shorten,
)
from ood_seg.io.image_headers import image_errors, read_header
from ood_seg.io.images import MAX_PIXELS, read_image

# A pixel belongs to the object from this alpha on, of 255.
_MIN_ALPHA = 128
_WITH_ALPHA = (".png", ".webp")


def list_cutouts(img_dir: Path, mask_dir: Path | None = None) -> Listing:
    """List cut-outs in the order of their names, with subfolders.

    Args:
        img_dir: folder of PNG or WebP files with alpha, or of the images that `mask_dir` masks.
        mask_dir: folder of PNG masks with the stems of the images. It may be `img_dir`, if the
            images are no PNG files.

    Returns:
        Pairs of image and mask; a cut-out with alpha is its own mask. Folders that do not exist,
        no files at all and missing partners are problems; files of other kinds are noted.
    """
    if mask_dir is None:
        return _list_alpha(img_dir)
    suffixes: tuple[str, ...] = DATASET_IMAGE_SUFFIXES
    if mask_dir.resolve() == img_dir.resolve():
        suffixes = tuple(suffix for suffix in suffixes if suffix != ".png")
    listing = pair_by_stem(img_dir, mask_dir, image_suffixes=suffixes, recursive=True)
    if not listing.pairs and not listing.problems:
        listing.problems.append(f"no images ({', '.join(suffixes)}) in {img_dir}")
    return listing


def _list_alpha(img_dir: Path) -> Listing:
    problems = missing_folders(img_dir)
    if problems:
        return Listing(problems=problems)
    found = files_by_stem(img_dir, _WITH_ALPHA, recursive=True)
    listing = Listing([(path, path) for paths in found.values() for path in paths])
    others = sum(len(paths) for paths in files_by_stem(img_dir, recursive=True).values())
    others -= len(listing.pairs)
    if others:
        listing.notes.append(f"{others} images without alpha (not {' or '.join(_WITH_ALPHA)})")
    if not listing.pairs:
        listing.problems.append(
            f"no cut-outs ({', '.join(_WITH_ALPHA)} with alpha) in {img_dir}"
            + (f", which has {others} other images; give their masks by mask_dir" if others else "")
        )
    return listing


def read_cutout(image: Path, mask: Path) -> np.ndarray:
    """Read a cut-out.

    Args:
        image, mask: a pair of `list_cutouts`.

    Returns:
        `(H, W, 4)` uint8: BGR, and 255 where the object is, else 0.

    Raises:
        ValueError: not an image, truncated, without alpha, or with an object without pixels; the
            mask is coloured or of another size; names the file.
        OSError: cannot be read.
    """
    if image == mask:
        found = _read_alpha(image)
    else:
        colours = read_image(image, grey_ok=True, apply_orientation=False)
        is_object = decode_label_image(mask.read_bytes(), mask) > 0
        if is_object.shape != colours.shape[:2]:
            raise ValueError(
                f"mask {mask}: expected the size of its image {colours.shape[:2]} (height, "
                f"width), got {is_object.shape}"
            )
        found = np.dstack([colours, is_object.astype(np.uint8) * 255])
    if not found[..., 3].any():
        kind = f"fully transparent (alpha below {_MIN_ALPHA})" if image == mask else "all 0"
        raise ValueError(f"cut-out {mask}: {kind}, so nothing is left to paste")
    return found


def _read_alpha(path: Path) -> np.ndarray:
    content = path.read_bytes()
    header = read_header(BytesIO(content), path)
    if header is not None and header.height * header.width > MAX_PIXELS:
        raise ValueError(
            f"cut-out {path}: {header.width}x{header.height} pixels are more than the allowed "
            f"{MAX_PIXELS}; make it smaller"
        )
    with image_errors(path, "cut-out"), Image.open(BytesIO(content)) as image:
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        rgba = np.array(image.convert("RGBA"))
    if not has_alpha:
        raise ValueError(
            f"cut-out {path}: has no alpha channel; save it with transparency, or give the mask of "
            "the object by mask_dir"
        )
    alpha = np.where(rgba[..., 3:] >= _MIN_ALPHA, np.uint8(255), np.uint8(0))
    return np.concatenate([rgba[..., 2::-1], alpha], axis=-1)


def cutout_faults(pairs: Iterable[tuple[Path, Path]]) -> Iterator[str]:
    """Read cut-outs and yield what is wrong with each that cannot be pasted."""
    for image, mask in pairs:
        try:
            read_cutout(image, mask)
        except (ValueError, OSError) as error:
            yield str(error)


def fault_summary(faults: list[str]) -> list[str]:
    """One sentence on the faults, or none."""
    listed = shorten(faults, 5, separator="; ")
    return [f"{len(faults)} cut-outs that cannot be pasted: {listed}"] if faults else []
