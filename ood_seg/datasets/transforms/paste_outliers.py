"""The transform that pastes outlier objects into training scenes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.coco_files import read_coco_image
from ood_seg.datasets.coco_masks import decode_mask
from ood_seg.datasets.outlier_sources import OutlierSource
from ood_seg.labels import OUTLIER
from ood_seg.pasting import (
    OutlierObject,
    flip_object,
    paste_object,
    random_position,
    scale_object,
)


@TRANSFORMS.register_module()
class PasteOutliers(BaseTransform):
    """Paste outlier objects into a scene and label them 254.

    Stands after the images and labels are loaded. Before resizing and cropping, as in PEBAL, the
    object is treated as a part of the scene, and a random crop may leave it out; after the random
    crop, every crop keeps its objects and sizes are those of the crop. An object that is larger
    than the scene is scaled down until it fits; objects that come later may cover earlier ones.

    Randomness: each call makes a generator from four numbers of numpy's global state, which
    mmengine seeds per worker. A worker that is restarted in every epoch starts from the same
    seed, so epoch-based training needs `persistent_workers=True` for new scenes in each epoch.
    With `seed`, a scene depends only on the seed, `results['sample_idx']` and the name of the
    image file: the same objects at the same places every time, in any order of calls.

    Required keys: img, gt_seg_map. With `seed` also sample_idx or img_path.
    Modified keys: img, gt_seg_map (new arrays; those passed in stay as they are).
    Added keys: num_outliers (int, objects pasted).

    Args:
        source: a config (`dict(type='CocoObjects', ...)`) or an object that has `__len__()` and
            `sample(rng) -> (image, mask)`.
        probability: share of scenes that get objects, 0 to 1.
        count: objects per such scene; a number, or `(lowest, highest)`, both included, each count
            with the same probability.
        size_range: `(smallest, largest)` longer side of a pasted object in pixels.
        scale_range: `(smallest, largest)` factor on an object's own size. Both ranges are drawn
            from log-uniformly, so that halving is as likely as doubling. Objects keep their
            native size without both and without `scales`.
        scales: factors of which one is chosen for each object, all equally likely (RPL's way).
        flip_probability: share of objects that are mirrored left to right, 0 to 1.
        seed: None for new scenes at every call, a number for fixed ones (validation).
        outlier_index: label of the pasted pixels.
        raw_probability: share of scenes that are replaced by the object's own whole image, with
            label 0 around the object. A defect of PEBAL's released code, where an index runs one
            too far (1 / 2976), and only of use to reproduce it. Needs `CocoObjects`.

    Raises:
        ValueError: a probability outside 0..1, a range that is empty or not positive, several
            of the ranges and `scales` given, or a `raw_probability` with a source that keeps no
            images.
    """

    def __init__(
        self,
        source: dict | OutlierSource,
        probability: float = 1.0,
        count: int | tuple[int, int] = (1, 2),
        size_range: tuple[float, float] | None = None,
        scale_range: tuple[float, float] | None = None,
        scales: Sequence[float] | None = None,
        flip_probability: float = 0.5,
        seed: int | None = None,
        outlier_index: int = OUTLIER,
        raw_probability: float = 0.0,
    ) -> None:
        self.probability = _checked_probability("probability", probability)
        self.flip_probability = _checked_probability("flip_probability", flip_probability)
        self.count = _checked_count(count)
        if sum(given is not None for given in (size_range, scale_range, scales)) > 1:
            raise ValueError(
                "give size_range (pixels), scale_range (factor) or scales (factors), not several"
            )
        self.size_range = None if size_range is None else _checked_range("size_range", size_range)
        self.scale_range = (
            None if scale_range is None else _checked_range("scale_range", scale_range)
        )
        self.scales = None if scales is None else _checked_scales(scales)
        self.seed = seed
        self.outlier_index = outlier_index
        self.source: Any = TRANSFORMS.build(source) if isinstance(source, dict) else source
        self.raw_probability = _checked_probability("raw_probability", raw_probability)
        if raw_probability and not hasattr(self.source, "records"):
            raise ValueError(
                "raw_probability needs a source that keeps its images (CocoObjects), got "
                f"{type(self.source).__name__}"
            )

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
            patch, mask = self._draw_object(labels.shape, rng)
            top, left = random_position(labels.shape, mask.shape, rng)
            image, labels = paste_object(
                image, labels, patch, mask, top, left, outlier_index=self.outlier_index
            )
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

    def _draw_object(self, scene_size: tuple[int, int], rng: np.random.Generator) -> OutlierObject:
        """Draw an object and bring it to its drawn size, mirrored or not, inside the scene."""
        patch, mask = self.source.sample(rng)
        if rng.random() < self.flip_probability:
            patch, mask = flip_object(patch, mask)
        return scale_object(patch, mask, self._draw_factor(mask.shape, rng), scene_size)

    def _draw_factor(self, object_size: tuple[int, int], rng: np.random.Generator) -> float:
        if self.size_range is not None:
            return _log_uniform(self.size_range, rng) / max(object_size)
        if self.scale_range is not None:
            return _log_uniform(self.scale_range, rng)
        if self.scales is not None:
            return self.scales[int(rng.integers(len(self.scales)))]
        return 1.0

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(source={self.source!r}, probability={self.probability}, "
            f"count={self.count}, size_range={self.size_range}, scale_range={self.scale_range}, "
            f"scales={self.scales}, "
            f"flip_probability={self.flip_probability}, seed={self.seed}, "
            f"raw_probability={self.raw_probability})"
        )


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _checked_probability(argument: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{argument} must lie in 0..1, got {value}")
    return value


def _checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be factors above 0, at least one, got {scales}")
    return tuple(scales)


def _checked_count(count: int | tuple[int, int]) -> tuple[int, int]:
    low, high = _checked_range("count", (count, count) if isinstance(count, int) else count)
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError(f"count must be an integer or a pair of them, got {count}")
    return low, high


def _checked_range(argument: str, limits: Sequence[float]) -> tuple[float, float]:
    if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
        raise ValueError(
            f"{argument} must be (smallest, largest) with 0 < smallest <= largest, got {limits}"
        )
    return limits[0], limits[1]
