"""Where outlier objects come from: COCO instance annotations, filtered by stated rules."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.coco_files import (
    id_order,
    image_path,
    instances_by_image,
    read_annotations,
    read_coco_image,
)
from ood_seg.datasets.coco_masks import decode_mask, encode_mask
from ood_seg.datasets.coco_rules import (
    CITYSCAPES_LIKE_CATEGORIES,
    checked_categories,
    image_drop_reason,
)
from ood_seg.datasets.listing import shorten
from ood_seg.pasting import OutlierObject, crop_object

OTHER_PART = "in the other part of the split"


class OutlierSource(Protocol):
    """What `PasteOutliers` needs of a source: a length and a draw."""

    def __len__(self) -> int: ...

    def sample(self, rng: np.random.Generator) -> OutlierObject: ...


def built_source(source: Any) -> Any:
    """Return an outlier source, built if it is a config; any source of objects or of scenes.

    Raises:
        ValueError: the object has no `sample` or `sample_from_scene`.
    """
    built = TRANSFORMS.build(source) if isinstance(source, dict) else source
    if not (hasattr(built, "sample") or hasattr(built, "sample_from_scene")):
        raise ValueError(
            f"source: {type(built).__name__} is no outlier source: it has no method sample(rng) "
            "or sample_from_scene(image, labels, rng); there are CocoObjects, CutoutFolder and "
            "ScenePieces"
        )
    return built


class ObjectRecord(NamedTuple):
    """One usable object: its image, and its place in it.

    Attributes:
        image_id: the image's id in the annotation file.
        path: the image's file.
        counts: compressed run lengths of the mask, in a frame of `height` x `width`.
        height: rows of the image.
        width: columns of the image.
        categories: names of the categories that the mask covers, one unless in union mode.
    """

    image_id: int
    path: Path
    counts: bytes
    height: int
    width: int
    categories: tuple[str, ...]


@TRANSFORMS.register_module()
class CocoObjects:
    """Outlier objects cut out of COCO images along their annotated masks.

    The annotation file is read once; masks are kept as run lengths and decoded together with the
    image when an object is requested. Polygons, plain and compressed run lengths are read.
    PEBAL's objects are `union=True, min_image_size=480, min_area=1` and an `exclude` without
    "train".

    The rules that drop an instance, in this order (`dropped` counts them):
        1. its image is not in the chosen part of the split (`holdout_every`, `holdout`),
        2. its image is lower or narrower than `min_image_size`,
        3. its image also holds a category of `exclude_images_with`,
        4. it is a crowd region (not in union mode),
        5. its category is in `exclude`,
        6. it has no mask (no polygon of three points, or no pixel inside),
        7. its mask has fewer pixels than `min_area` (in union mode: the union's mask).

    Args:
        ann_file: COCO instance annotations (`instances_train2017.json`).
        img_dir: folder of the images.
        exclude: categories that are no outliers. Each name must be in the file, except that the
            default may name categories that the file does not have.
        min_area: least number of pixels of an object's mask.
        union: one object per image, the union of all its instances, crowds included, in their
            relative layout, as PEBAL pastes. Images with an excluded category are then dropped
            as a whole.
        min_image_size: smallest height and width of an image in pixels (PEBAL: 480); None for any.
        exclude_images_with: drop images that hold one of these categories. None means `exclude`
            in union mode and no image otherwise.
        holdout_every: hold back every n-th image, counted over all images of the file in the
            order of their ids, so that no other rule moves an image between the parts.
        holdout: take the held-back images instead of the others.
        cache_size: number of decoded objects kept in memory (the least recently used are dropped).

    Raises:
        FileNotFoundError: the annotation file, the folder, or an image that is needed is missing.
        ValueError: a malformed file, an unknown category (with those spelled alike), a file name
            that leads out of `img_dir`, or no usable object (with the number dropped by each rule).
    """

    def __init__(
        self,
        ann_file: str | Path,
        img_dir: str | Path,
        exclude: Sequence[str] = CITYSCAPES_LIKE_CATEGORIES,
        min_area: int = 1500,
        union: bool = False,
        min_image_size: int | None = None,
        exclude_images_with: Sequence[str] | None = None,
        holdout_every: int | None = None,
        holdout: bool = False,
        cache_size: int = 0,
    ) -> None:
        check_split(holdout_every, holdout)
        self.ann_file, self.img_dir = Path(ann_file), Path(img_dir)
        self.min_area, self.union, self.min_image_size = min_area, union, min_image_size
        self.holdout_every, self.holdout, self.cache_size = holdout_every, holdout, cache_size
        content = read_annotations(self.ann_file)
        self._category_names = {entry["id"]: entry["name"] for entry in content["categories"]}
        check = partial(
            checked_categories,
            known=tuple(self._category_names.values()),
            default=CITYSCAPES_LIKE_CATEGORIES,
            ann_file=self.ann_file,
        )
        self.exclude = check("exclude", exclude)
        if exclude_images_with is None:
            exclude_images_with = exclude if union else ()
        self.exclude_images_with = check("exclude_images_with", exclude_images_with)
        self.dropped: Counter[str] = Counter()
        self.records = self._usable(content)
        self._check_files(len(content["annotations"]))
        self._cache: OrderedDict[int, OutlierObject] = OrderedDict()

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> OutlierObject:
        return self.load(index)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} objects of {self.ann_file})"

    def __getstate__(self) -> dict[str, Any]:
        # Data loader workers start with an empty cache instead of receiving images by pipe.
        return {**self.__dict__, "_cache": OrderedDict()}

    def sample(self, rng: np.random.Generator) -> OutlierObject:
        """Draw one object, each with the same probability."""
        return self.load(int(rng.integers(len(self))))

    def load(self, index: int) -> OutlierObject:
        """Read one object, cropped to its mask's box.

        Args:
            index: `0 <= index < len(source)`.

        Returns:
            `(image, mask)`: `(h, w, 3)` uint8 BGR and `(h, w)` bool.

        Raises:
            IndexError: no such object.
            ValueError: the file is truncated, is not an image, or has another size than the
                annotations state.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"object {index} of a source with {len(self)} objects")
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        record = self.records[index]
        size = (record.height, record.width)
        found = crop_object(read_coco_image(record.path, *size), decode_mask(record.counts, *size))
        if self.cache_size > 0:
            for array in found:
                array.flags.writeable = False
            self._cache[index] = found
            if len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)
        return found

    def _usable(self, content: dict[str, Any]) -> list[ObjectRecord]:
        """Records of all objects that pass the rules, in the order of image and instance ids."""
        instances = instances_by_image(content, self.ann_file)
        records = []
        for position, image in enumerate(sorted(content["images"], key=id_order)):
            entries = instances[image["id"]]
            reason = self._why_image_dropped(position, image, entries)
            if reason:
                self.dropped[reason] += len(entries)
            else:
                records += self._records_of_image(image, entries)
        return records

    def _why_image_dropped(self, position: int, image: dict, entries: list[dict]) -> str | None:
        if not in_chosen_part(position, self.holdout_every, self.holdout):
            return OTHER_PART
        return image_drop_reason(
            image,
            {self._category_names[entry["category_id"]] for entry in entries},
            min_image_size=self.min_image_size,
            exclude_images_with=self.exclude_images_with,
        )

    def _records_of_image(self, image: dict, entries: list[dict]) -> list[ObjectRecord]:
        from pycocotools import mask as run_lengths

        path = image_path(self.img_dir, image["file_name"], self.ann_file)
        size = (image["height"], image["width"])
        named_masks = self._masks_of_image(entries, size)
        groups = [named_masks] if self.union and named_masks else [[pair] for pair in named_masks]
        records = []
        for group in groups:
            mask = run_lengths.merge([mask for _, mask in group])
            if run_lengths.area(mask) < self.min_area:
                self.dropped[f"mask below min_area={self.min_area}"] += len(group)
                continue
            names = tuple(sorted({name for name, _ in group}))
            records.append(ObjectRecord(image["id"], path, mask["counts"], *size, names))
        return records

    def _masks_of_image(
        self, entries: list[dict], size: tuple[int, int]
    ) -> list[tuple[str, dict[str, Any]]]:
        """Category and run lengths of the instances that the rules on single instances keep."""
        kept = []
        for entry in entries:
            name = self._category_names[entry["category_id"]]
            if entry.get("iscrowd", 0) and not self.union:
                self.dropped["crowd region"] += 1
                continue
            if name in self.exclude:
                self.dropped["excluded category"] += 1
                continue
            origin = f"annotation {entry['id']} of {self.ann_file}"
            mask = encode_mask(entry["segmentation"], *size, origin=origin)
            if mask is None:
                self.dropped["without a mask"] += 1
                continue
            kept.append((name, mask))
        return kept

    def _check_files(self, num_instances: int) -> None:
        if not self.records:
            rules = "; ".join(f"{count} {reason}" for reason, count in self.dropped.items())
            raise ValueError(
                f"{self.ann_file} has no usable outlier object: {num_instances} instances, "
                f"dropped: {rules or 'none'}. Relax a rule or give another file"
            )
        if not self.img_dir.is_dir():
            raise FileNotFoundError(f"img_dir={self.img_dir} is no folder; expected the images")
        missing = sorted({r.path for r in self.records if not r.path.is_file()})
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} images that {self.ann_file} lists are not in {self.img_dir}: "
                f"{shorten((path.name for path in missing), 5)}"
            )


def check_split(holdout_every: int | None, holdout: bool) -> None:
    """Raise a ValueError unless the two arguments go together, see `CocoObjects`."""
    if holdout_every is None and holdout:
        raise ValueError("holdout=True needs holdout_every=n: which images are held back?")
    if holdout_every is not None and holdout_every < 2:
        raise ValueError(f"holdout_every must be at least 2, got {holdout_every}")


def in_chosen_part(position: int, holdout_every: int | None, holdout: bool) -> bool:
    """Whether the item at a position is in the part of the split that is asked for."""
    if holdout_every is None:
        return True
    return (position % holdout_every == holdout_every - 1) == holdout
