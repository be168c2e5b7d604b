"""The transform that pastes outlier objects into training scenes."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.coco_files import read_coco_image
from ood_seg.datasets.coco_masks import decode_mask
from ood_seg.datasets.outlier_sources import built_source
from ood_seg.datasets.transforms.paste_options import (
    ANYWHERE,
    checked_classes,
    checked_count,
    checked_edges,
    checked_probability,
    size_rule,
)
from ood_seg.labels import OUTLIER
from ood_seg.pasting import (
    cloned_patch,
    distance_factor,
    feathered_patch,
    flip_object,
    paste_object,
    random_ground_row,
    random_position,
    recoloured_patch,
    scale_object,
    shadowed_scene,
    standing_position,
)


@TRANSFORMS.register_module()
class PasteOutliers(BaseTransform):
    """Paste outlier objects into a scene and label them 254.

    Stands after the images and labels are loaded. Before resizing and cropping, as in PEBAL, the
    object is treated as a part of the scene, and a random crop may leave it out; after the random
    crop, every crop keeps its objects and sizes are those of the crop. An object that is larger
    than the scene is scaled down until it fits; objects that come later may cover earlier ones.
    By default objects keep their colours and hard edges and lie anywhere, as in PEBAL.

    What a scene does not allow is done in the plain way, counted in `fallbacks` by reason, and
    logged at its first occurrence in each process: an object goes anywhere where it cannot stand
    on the classes of `placement`, it is feathered where it is too thin for `edges='poisson'`.

    Randomness: each call makes a generator from four numbers of numpy's global state, which
    mmengine seeds per worker. A worker that is restarted in every epoch starts from the same
    seed, so epoch-based training needs `persistent_workers=True` for new scenes in each epoch.
    With `seed`, a scene depends only on the seed, `results['sample_idx']` and the name of the
    image file: the same objects at the same places every time, in any order of calls.

    Required keys: img, gt_seg_map. With `seed` also sample_idx or img_path.
    Modified keys: img, gt_seg_map (new arrays; those passed in stay as they are). Every pasted
    pixel is labelled; other pixels change in a shadow only, and no other label changes.
    Added keys: num_outliers (int, objects pasted).

    Args:
        source: a config (`dict(type='CocoObjects', ...)`) or an object that has `__len__()` and
            `sample(rng) -> (image, mask)`, or `sample_from_scene(image, labels, rng)`.
        probability: share of scenes that get objects, 0 to 1.
        count: objects per such scene; a number, or `(lowest, highest)`, both included, each count
            with the same probability.
        size_range: `(smallest, largest)` longer side of a pasted object in pixels.
        scale_range: `(smallest, largest)` factor on an object's own size. Both ranges are drawn
            from log-uniformly, so that halving is as likely as doubling. Objects keep their
            native size without both and without `scales`.
        scales: factors of which one is chosen for each object, all equally likely (RPL's way).
        size_share: `(smallest, largest)` longer side as a share of the scene's short side, drawn
            log-uniformly; or several such pairs, of which one is chosen for each object, all
            equally likely: `[(0.012, 0.2), (0.2, 0.6)]` mixes small and large objects.
        size_by_distance: like `size_share` for an object on the lowest row of the scene; it
            shrinks with the row on which it stands, to nothing at the highest row with a class of
            `placement`, which is needed. Best before the crop, where the horizon is in the scene.
        placement: 'anywhere', or the class on which the whole lowest row of an object stands, or
            several: names of Cityscapes' classes ('road', 'sidewalk') or label values.
        edges: 'hard', 'feathered' or 'poisson', or several, of which one is chosen for each
            object.
        feather: width of the fade in pixels, inside the object.
        colour_transfer: 0 to 1, how far the object's colours move to those of its surroundings.
        shadow: 0 to 1, how dark the ground below the object becomes.
        flip_probability: share of objects that are mirrored left to right, 0 to 1.
        seed: None for new scenes at every call, a number for fixed ones (validation).
        outlier_index: label of the pasted pixels.
        raw_probability: share of scenes that are replaced by the object's own whole image, with
            label 0 around the object. A defect of PEBAL's released code, where an index runs one
            too far (1 / 2976), and only of use to reproduce it. Needs `CocoObjects`.

    Raises:
        ValueError: a probability outside 0..1, a range that is empty or not positive, several
            rules of size, an unknown class or edge, a source that is none, or a
            `raw_probability` with a source that keeps no images.
    """

    def __init__(
        self,
        source: Any,
        probability: float = 1.0,
        count: int | tuple[int, int] = (1, 2),
        size_range: tuple[float, float] | None = None,
        scale_range: tuple[float, float] | None = None,
        scales: Sequence[float] | None = None,
        flip_probability: float = 0.5,
        seed: int | None = None,
        outlier_index: int = OUTLIER,
        raw_probability: float = 0.0,
        *,
        size_share: Sequence | None = None,
        size_by_distance: tuple[float, float] | None = None,
        placement: str | int | Sequence[str | int] = ANYWHERE,
        edges: str | Sequence[str] = "hard",
        feather: float = 2.0,
        colour_transfer: float = 0.0,
        shadow: float = 0.0,
    ) -> None:
        self.probability = checked_probability("probability", probability)
        self.flip_probability = checked_probability("flip_probability", flip_probability)
        self.colour_transfer = checked_probability("colour_transfer", colour_transfer)
        self.shadow = checked_probability("shadow", shadow)
        self.count = checked_count(count)
        self.size_rule = size_rule(
            size_range=size_range,
            scale_range=scale_range,
            scales=scales,
            size_share=size_share,
            size_by_distance=size_by_distance,
        )
        self.placement = checked_classes(placement)
        if self.size_rule.name == "size_by_distance" and not self.placement:
            raise ValueError(
                "size_by_distance needs the ground: give placement='road', or another class"
            )
        self.edges = checked_edges(edges)
        if feather < 0:
            raise ValueError(f"feather must be a width in pixels, 0 or more, got {feather}")
        self.feather = feather
        self.seed = seed
        self.outlier_index = outlier_index
        self.source: Any = built_source(source)
        self.raw_probability = checked_probability("raw_probability", raw_probability)
        if raw_probability and not hasattr(self.source, "records"):
            raise ValueError(
                "raw_probability needs a source that keeps its images (CocoObjects), got "
                f"{type(self.source).__name__}"
            )
        self.fallbacks: Counter[str] = Counter()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Paste objects into one scene.

        Args:
            results: holds `img` `(H, W, 3)` and `gt_seg_map` `(H, W)`.

        Returns:
            The same dict with new arrays and `num_outliers`.

        Raises:
            KeyError: image or labels are not loaded yet, or a seeded scene has no identity.
            ValueError, TypeError: the arrays do not go together, see `paste_object`.
        """
        for key in ("img", "gt_seg_map"):
            if results.get(key) is None:
                raise KeyError(
                    f"PasteOutliers needs results[{key!r}]; put it after the transforms that load "
                    "image and labels (LoadCheckedImage, LoadCheckedLabels)"
                )
        rng = self._generator(results)
        if self.raw_probability and rng.random() < self.raw_probability:
            results["img"], results["gt_seg_map"] = self._raw_image(rng)
            results["num_outliers"] = 1
            return results
        num_outliers = 0
        if rng.random() < self.probability:
            num_outliers = int(rng.integers(*self.count, endpoint=True))
        image, labels = results["img"], results["gt_seg_map"]
        for _ in range(num_outliers):
            image, labels = self._with_object(image, labels, rng)
        results["img"], results["gt_seg_map"] = image, labels
        results["num_outliers"] = num_outliers
        return results

    def _generator(self, results: dict[str, Any]) -> np.random.Generator:
        if self.seed is None:
            return np.random.default_rng(np.random.randint(0, 2**32, size=4, dtype=np.uint32))
        index, path = results.get("sample_idx"), results.get("img_path")
        if index is None and path is None:
            raise KeyError(
                "PasteOutliers(seed=...) identifies scenes by results['sample_idx'] or "
                "results['img_path'], and neither is there"
            )
        # The name without folders: the same scenes wherever the data lie. The index alone would
        # give the n-th scenes of all concatenated datasets the same objects.
        name = "" if path is None else PurePath(path).name
        return np.random.default_rng([self.seed, index or 0, zlib.crc32(name.encode())])

    def _raw_image(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A whole image of the source, and its labels: outlier on the object, 0 around it."""
        record = self.source.records[int(rng.integers(len(self.source)))]
        size = (record.height, record.width)
        mask = decode_mask(record.counts, *size)
        labels = np.where(mask, self.outlier_index, 0).astype(np.uint8)
        return read_coco_image(record.path, *size), labels

    def _with_object(
        self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Image and labels with one more object."""
        if hasattr(self.source, "sample_from_scene"):
            patch, mask = self.source.sample_from_scene(image, labels, rng)
        else:
            patch, mask = self.source.sample(rng)
        if rng.random() < self.flip_probability:
            patch, mask = flip_object(patch, mask)
        ground = np.isin(labels, self.placement) if self.placement else None
        row = None
        if ground is not None and self.size_rule.name == "size_by_distance":
            row = random_ground_row(ground, rng)
        factor = self.size_rule.factor(mask.shape, labels.shape, rng)
        if ground is not None and row is not None:
            factor *= distance_factor(ground, row)
        patch, mask = scale_object(patch, mask, factor, labels.shape)
        position = None
        if ground is not None:
            position = standing_position(ground, mask, rng, row=row)
            if position is None:
                self._count_fallback(f"no place to stand on the classes {self.placement}")
        top, left = position or random_position(labels.shape, mask.shape, rng)
        image, patch = self._blended(image, patch, mask, top, left, rng)
        return paste_object(image, labels, patch, mask, top, left, outlier_index=self.outlier_index)

    def _blended(
        self,
        image: np.ndarray,
        patch: np.ndarray,
        mask: np.ndarray,
        top: int,
        left: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scene and the object's crop as they are to be pasted."""
        if self.colour_transfer:
            patch = recoloured_patch(image, patch, mask, top, left, self.colour_transfer)
        if self.shadow:
            image = shadowed_scene(image, mask, top, left, self.shadow)
        edge = self.edges[0] if len(self.edges) == 1 else self.edges[rng.integers(len(self.edges))]
        if edge == "poisson":
            cloned = cloned_patch(image, patch, mask, top, left)
            if cloned is not None:
                return image, cloned
            self._count_fallback("too thin for edges='poisson', feathered")
        if edge != "hard":
            patch = feathered_patch(image, patch, mask, top, left, self.feather)
        return image, patch

    def _count_fallback(self, reason: str) -> None:
        if not self.fallbacks[reason]:
            print_log(
                f"PasteOutliers: an object has {reason}; such are pasted in the plain way and "
                "counted, this is logged once",
                logger="current",
                level=logging.WARNING,
            )
        self.fallbacks[reason] += 1

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(source={self.source!r}, probability={self.probability}, "
            f"count={self.count}, {self.size_rule}, flip_probability={self.flip_probability}, "
            f"seed={self.seed}, raw_probability={self.raw_probability}, "
            f"placement={self.placement or ANYWHERE}, edges={self.edges}, feather={self.feather}, "
            f"colour_transfer={self.colour_transfer}, shadow={self.shadow})"
        )
