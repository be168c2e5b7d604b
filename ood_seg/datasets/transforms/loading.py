"""Loading of images and label images with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.decoded_cache import CACHE, reserved_cache_mb
from ood_seg.datasets.label_images import (
    FITS,
    apply_label_table,
    decode_label_image,
    fit_labels,
    label_table,
)
from ood_seg.datasets.layouts import check_choice
from ood_seg.datasets.listing import as_spelled
from ood_seg.io.image_headers import read_header
from ood_seg.io.images import decode_image
from ood_seg.labels import IGNORE, OUTLIER


def read_bytes(path: str, backend_args: dict | None, what: str) -> bytes:
    """Read a file through mmengine's file backends.

    Raises:
        FileNotFoundError: no such file, with the remedy.
    """
    try:
        return fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        spelled = as_spelled(Path(path).parent, Path(path).name)
        if spelled.is_file():  # mmseg derives the name of a label image from that of its image
            return spelled.read_bytes()
        raise FileNotFoundError(
            f"{what} not found: {path}; check data_root and data_prefix in the config, "
            "or run `ood-seg check-data`"
        ) from None


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """Load an image by the rule of `ood_seg.io.images`; grey ones get three equal channels.

    Adds `img` (H, W, 3) uint8 BGR, `img_shape` and `ori_shape`.

    Args:
        to_float32, ignore_empty, backend_args: as in mmcv's `LoadImageFromFile`.
        color_type: 'color' applies the EXIF orientation, 'color_ignore_orientation' does not.
        labels_drawn_on: for images that have an EXIF orientation and labels: 'shown' if these
            were drawn on the turned image, 'stored' if on the pixels as stored, which are then
            loaded. None: such an image is an error, since half of the orientations leave its
            size unchanged and the labels would be misplaced unnoticed.
        cache_mb: see `LoadCheckedLabels`.

    Raises (on use):
        FileNotFoundError: no such file.
        ValueError: truncated, not an image, more than 8 bits a channel, or an EXIF orientation
            (see above); names the file.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = "color",
        ignore_empty: bool = False,
        *,
        backend_args: dict | None = None,
        labels_drawn_on: str | None = None,
        cache_mb: int = 0,
    ) -> None:
        check_choice("color_type", color_type, ("color", "color_ignore_orientation"))
        if labels_drawn_on is not None:
            check_choice("labels_drawn_on", labels_drawn_on, ("shown", "stored"))
        super().__init__(
            to_float32=to_float32,
            color_type=color_type,
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )
        self.labels_drawn_on = labels_drawn_on
        self.cache_mb = reserved_cache_mb(cache_mb)

    def transform(self, results: dict) -> dict | None:
        """Read `results['img_path']`; see the class."""
        try:
            image = self._load(results["img_path"], has_labels=bool(results.get("seg_map_path")))
        except (FileNotFoundError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results

    def _load(self, path: str, *, has_labels: bool) -> np.ndarray:
        key = f"image {self.color_type} {self.labels_drawn_on} {has_labels} {path}"
        image = CACHE.get(
            key, lambda: self._decode(path, has_labels), max_bytes=self.cache_mb * 2**20
        )
        return image if image.flags.writeable else image.copy()

    def _decode(self, path: str, has_labels: bool) -> np.ndarray:
        content = read_bytes(path, self.backend_args, "image")
        is_turned = self.color_type == "color"
        if is_turned and has_labels:
            is_turned = self.labels_drawn_on != "stored"
            if self.labels_drawn_on is None:
                _require_upright(content, path)
        return decode_image(content, path, grey_ok=True, apply_orientation=is_turned)


def _require_upright(content: bytes, path: str) -> None:
    header = read_header(BytesIO(content), path)
    if header is not None and header.orientation != 1:
        raise ValueError(
            f"image {path}: has the EXIF orientation {header.orientation}; state in the config "
            "whether its labels belong to the turned or to the stored pixels: "
            "dict(type='LoadCheckedImage', labels_drawn_on='shown') or 'stored'"
        )


@TRANSFORMS.register_module()
class LoadCheckedLabels(LoadAnnotations):
    """Load a label image, map its values, and refuse every value that is not known.

    Known values are the keys of `results['label_map']` where there is a map, else the classes
    `0..num_classes-1` and 255. A map of mmseg (a choice of classes) leaves 255 void; a map of
    our datasets, marked by `results['label_map_is_complete']`, is the whole truth.
    Adds `gt_seg_map` (H, W) uint8 and names it in `seg_fields`.

    Args:
        num_classes: number of classes; by default `results['num_classes']`, which our data
            sets give. mmseg's own datasets do not, so a config states it for them.
        outlier_ok: also let `OUTLIER` (254) stand, for scenes pasted beforehand.
        fit_to_image: what to do with a label image of another size than its image. False: it
            is an error. 'rescale' or True: resize it (nearest neighbour), for images that were
            rescaled after labelling. 'crop': cut off its first rows and columns, for images
            that lost their upper and left edge after labelling (some copies of KITTI).
        reduce_zero_label, backend_args: as in mmseg's `LoadAnnotations`.
        cache_mb: MiB of decoded files, images and labels of all datasets together, that the
            process and its forked loader workers share in memory; 0 for none. Samples are the same
            with and without. Files must not change meanwhile. A scene of Cityscapes takes 8 MiB.

    Raises (on use):
        FileNotFoundError: no such file.
        ValueError: unreadable, coloured, of another size than the image, with unknown values
            (file, values and their pixel counts are named), or no known range given.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        outlier_ok: bool = False,
        fit_to_image: bool | str = False,
        reduce_zero_label: bool | None = None,
        backend_args: dict | None = None,
        cache_mb: int = 0,
    ) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, backend_args=backend_args)
        if num_classes is not None and not 1 <= num_classes <= OUTLIER:
            raise ValueError(f"num_classes: expected 1..{OUTLIER} or None, got {num_classes!r}")
        self.num_classes = num_classes
        self.outlier_ok = outlier_ok
        if fit_to_image not in (False, True, *FITS):
            raise ValueError(
                f"fit_to_image: expected False, True or one of {', '.join(FITS)}; "
                f"got {fit_to_image!r}"
            )
        self.fit_to_image = "rescale" if fit_to_image is True else fit_to_image
        self.cache_mb = reserved_cache_mb(cache_mb)

    def _load_seg_map(self, results: dict) -> None:
        """Read `results['seg_map_path']`; the name is that of mmseg's stage."""
        path = results["seg_map_path"]

        def decode() -> np.ndarray:
            return decode_label_image(read_bytes(path, self.backend_args, "label image"), path)

        raw = CACHE.get(f"labels {path}", decode, max_bytes=self.cache_mb * 2**20)
        # Test pipelines load labels after resizing, so `img` may have another size by now.
        expected_shape = results.get("ori_shape")
        if expected_shape is not None and raw.shape != tuple(expected_shape):
            if not self.fit_to_image:
                raise ValueError(
                    f"label image {path}: expected the image's size "
                    f"{tuple(expected_shape)} (height, width), got {raw.shape}; "
                    f"image: {results.get('img_path')}; pair the right files, or set "
                    "fit_to_image='rescale' or 'crop' if the images were changed after labelling"
                )
            raw = fit_labels(raw, tuple(expected_shape), self.fit_to_image, source=path)
        results["gt_seg_map"] = apply_label_table(raw, *self._table(results), source=path)
        results["seg_fields"].append("gt_seg_map")

    def _table(self, results: Mapping) -> tuple[np.ndarray, np.ndarray]:
        """Return the look-up table and the known values for this sample's dataset."""
        reduce_zero = self.reduce_zero_label
        if reduce_zero is None:
            reduce_zero = results.get("reduce_zero_label", False)
        label_map = results.get("label_map")
        num_classes = self.num_classes or results.get("num_classes")
        if label_map is None and num_classes is not None:
            label_map = {label: label for label in range(num_classes)}
        if label_map is None:
            raise ValueError(
                f"label image {results['seg_map_path']}: the known label values are not "
                "given; set them in the config: dict(type='LoadCheckedLabels', num_classes=19)"
            )
        always = (OUTLIER,) if self.outlier_ok else ()
        if not results.get("label_map_is_complete", False):
            always = (*always, IGNORE)
        return _cached_table(tuple(label_map.items()), always, bool(reduce_zero))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_classes={self.num_classes}, "
            f"outlier_ok={self.outlier_ok}, fit_to_image={self.fit_to_image!r}, "
            f"reduce_zero_label={self.reduce_zero_label}, "
            f"backend_args={self.backend_args}, cache_mb={self.cache_mb})"
        )


@lru_cache(maxsize=64)
def _cached_table(
    items: tuple[tuple[int, int], ...], always: tuple[int, ...], reduce_zero: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Build `label_table` once for each dataset, not once for each image."""
    return label_table(dict(items), always=always, reduce_zero=reduce_zero)
