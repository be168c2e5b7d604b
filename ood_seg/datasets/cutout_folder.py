"""Outlier objects from a folder of cut-outs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.cutout_files import fault_summary, list_cutouts, read_cutout
from ood_seg.datasets.decoded_cache import CACHE, reserved_cache_mb
from ood_seg.datasets.listing import require_no_problems
from ood_seg.datasets.outlier_sources import OTHER_PART, check_split, in_chosen_part
from ood_seg.pasting import OutlierObject, crop_object


@TRANSFORMS.register_module()
class CutoutFolder:
    """Outlier objects from PNG or WebP files with alpha, or from images and masks of one stem.

    A pixel belongs to the object where alpha is at least 128, or where the mask is not 0. Every
    file is read once at the start, so that a wrong one is named before training begins.

    Args:
        img_dir: folder of the cut-outs, or of the images; subfolders are read too.
        mask_dir: folder of the masks, PNG files with the stems of the images; None for files with
            alpha. It may be `img_dir`, if the images are no PNG files.
        min_area: least number of pixels of an object; smaller ones are left out and counted in
            `dropped`.
        holdout_every: hold back every n-th cut-out, counted in the order of their names.
        holdout: take the held-back cut-outs instead of the others.
        cache_mb: MiB of decoded files that are kept, see `LoadCheckedLabels`.

    Raises:
        ValueError: a folder that does not exist or holds no cut-outs, missing partners, files
            without alpha, fully transparent or damaged (all problems in one message), or no object
            left.
    """

    def __init__(
        self,
        img_dir: str | Path,
        mask_dir: str | Path | None = None,
        min_area: int = 1,
        holdout_every: int | None = None,
        holdout: bool = False,
        cache_mb: int = 0,
    ) -> None:
        check_split(holdout_every, holdout)
        self.img_dir, self.cache_mb = Path(img_dir), reserved_cache_mb(cache_mb)
        self.dropped: Counter[str] = Counter()
        self.cutouts: list[tuple[Path, Path]] = []
        listing = list_cutouts(self.img_dir, None if mask_dir is None else Path(mask_dir))
        faults = []
        for position, pair in enumerate(listing.pairs):
            if not in_chosen_part(position, holdout_every, holdout):
                self.dropped[OTHER_PART] += 1
                continue
            try:
                area = np.count_nonzero(read_cutout(*pair)[..., 3])
            except (ValueError, OSError) as error:
                faults.append(str(error))
                continue
            if area < min_area:
                self.dropped[f"object below min_area={min_area}"] += 1
            else:
                self.cutouts.append(pair)
        listing.problems += fault_summary(faults)
        require_no_problems(listing, name=type(self).__name__)
        if not self.cutouts:
            rules = "; ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            raise ValueError(
                f"{self.img_dir} has no usable cut-out: dropped: {rules}. Relax a rule or add files"
            )

    def __len__(self) -> int:
        return len(self.cutouts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} objects of {self.img_dir})"

    def sample(self, rng: np.random.Generator) -> OutlierObject:
        """Draw one object, each with the same probability."""
        return self.load(int(rng.integers(len(self))))

    def load(self, index: int) -> OutlierObject:
        """Read one object, cropped to its mask's box.

        Args:
            index: `0 <= index < len(source)`, in the order of the names.

        Returns:
            `(image, mask)`: `(h, w, 3)` uint8 BGR and `(h, w)` bool.

        Raises:
            IndexError: no such object.
            ValueError, OSError: the file was changed since the start and cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"object {index} of a source with {len(self)} objects")
        pair = self.cutouts[index]
        key, max_bytes = f"cutout {pair[0]} {pair[1]}", self.cache_mb << 20
        read = CACHE.get(key, lambda: read_cutout(*pair), max_bytes=max_bytes)
        return crop_object(read[..., :3], read[..., 3] > 0)
