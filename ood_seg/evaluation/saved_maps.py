"""Reads score maps of any origin and their ground truth; NumPy and pillow only.

    .npy  .npz                 any real type; never unpickled
    .tif  .tiff                one channel, float or integers
    .png                       one channel, 8 or 16 bit
    .exr                       one channel, where OpenCV was built with it

Integers are ranked as they are, unless a scale is given: value = offset + scale * stored.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ood_seg.datasets.label_images import (
    apply_label_table,
    decode_label_image,
    label_table,
)
from ood_seg.datasets.label_maps import EVALUATION_LABELS, checked_label_map
from ood_seg.io.image_headers import image_errors
from ood_seg.io.json_files import read_json
from ood_seg.labels import ANOMALY, IGNORE, KNOWN, OUTLIER

SCORE_SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".png", ".exr")
SCALE_FILE = "scale.json"

# What NumPy raises for a file that is cut off or no array.
_ARRAY_ERRORS = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, KeyError)


@dataclass(frozen=True)
class MapFormat:
    """Conversion of stored numbers to scores.

    Attributes:
        key: array of an `.npz` file; None: its only one.
        scale: factor for integers, above 0; None leaves them as they are.
        offset: added to the scaled numbers.
        negate: lower stored numbers mean more anomalous, as for a confidence.
    """

    key: str | None = None
    scale: float | None = None
    offset: float = 0.0
    negate: bool = False

    def __post_init__(self) -> None:
        if self.scale is None:
            if self.offset:
                raise ValueError("an offset needs a scale: value = offset + scale * stored")
        elif not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.offset)):
            raise ValueError(
                f"scale must be above 0 and finite, offset finite; got {self.scale} and "
                f"{self.offset}. Where low numbers mean anomalous, negate the scores"
            )


def read_scale_file(path: Path) -> dict[str, Any]:
    """Read `scale` and `offset` from a sidecar such as `{"scale": 0.001, "offset": -20}`.

    Raises:
        ValueError: not such a file; names it.
    """
    try:
        content = read_json(path)
        return {"scale": float(content["scale"]), "offset": float(content.get("offset", 0))}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path}: expected {{"scale": number, "offset": number}}, got an error: {error!r}'
        ) from error


def training_label_map(num_classes: int) -> dict[int, int]:
    """Training labels 0..C-1, 254 and 255 as known, anomalous and ignored."""
    return {**dict.fromkeys(range(num_classes), KNOWN), OUTLIER: ANOMALY, IGNORE: IGNORE}


@dataclass(frozen=True)
class MapReader:
    """Reads a score map with its ground truth.

    Args:
        format: of the score maps.
        label_map: value in the ground truth file -> 0 known, 1 anomaly, 255 ignored. 255 is
            ignored unless it has another entry; any other value is an error.
    """

    format: MapFormat = MapFormat()
    label_map: Mapping[int, int] = field(default_factory=lambda: dict(EVALUATION_LABELS))

    def __post_init__(self) -> None:
        checked = checked_label_map(self.label_map, frozenset((KNOWN, ANOMALY, IGNORE)))
        object.__setattr__(self, "label_map", {IGNORE: IGNORE, **checked})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> MapReader:
        """The reader whose `dataclasses.asdict` stands under `reader` in `evaluation.json`."""
        options = dict(record)
        if "format" in options:
            options["format"] = MapFormat(**options["format"])
        return cls(**options)

    def read(self, scores: Path, truth: Path) -> tuple[np.ndarray, np.ndarray]:
        """Scores `(H, W)`, float32 or float64, and labels `(H, W)`, uint8: 0, 1, 255.

        Raises:
            ValueError: a file is damaged or no map, the sizes differ, a score that counts is NaN
                or infinite, or a label has no meaning; names the file.
        """
        labels = self.read_truth(truth)
        score_map = _score_map(scores, self.format)
        if score_map.shape != labels.shape:
            raise ValueError(
                f"{scores}: the score map has size {_size(score_map)} but the ground truth {truth} "
                f"{_size(labels)} (height x width); resize the scores to the size of the ground "
                "truth, never the ground truth"
            )
        if not _all_finite(score_map):
            ignored = (labels == IGNORE) & ~np.isfinite(score_map)
            score_map = np.where(ignored, score_map.dtype.type(0), score_map)
            _check_finite(score_map, scores)
        return score_map, labels

    def read_truth(self, path: Path) -> np.ndarray:
        """Labels `(H, W)` uint8: 0 known, 1 anomaly, 255 ignored."""
        raw = decode_label_image(path.read_bytes(), path)
        return apply_label_table(raw, *label_table(self.label_map), source=path)


def read_scores(path: Path, format: MapFormat = MapFormat(), *, finite: bool = True) -> np.ndarray:
    """Read a score map.

    Args:
        path: of the file.
        format: how it is stored.
        finite: refuse NaN and infinite scores, also where the ground truth may be ignored.

    Returns:
        `(H, W)`, float32 where that holds every value, else float64. Higher means more anomalous.

    Raises:
        ValueError: the file is damaged, not of a known type, holds no single map of real numbers,
            or a score is NaN or infinite.
    """
    scores = _score_map(path, format)
    if finite:
        _check_finite(scores, path)
    return scores


def _score_map(path: Path, format: MapFormat) -> np.ndarray:
    stored = _as_map(_stored_array(path, format), path)
    scores = _as_scores(stored, format, path)
    return np.negative(scores) if format.negate else scores


def _all_finite(scores: np.ndarray) -> bool:
    return not scores.size or bool(np.isfinite(scores.min()) and np.isfinite(scores.max()))


def _check_finite(scores: np.ndarray, path: Path) -> None:
    if not _all_finite(scores):
        raise ValueError(
            f"{path}: {np.isnan(scores).sum()} NaN and {np.isinf(scores).sum()} infinite scores "
            f"among {scores.size}; look for an overflow in the model (half precision?)"
        )


def _stored_array(path: Path, format: MapFormat) -> np.ndarray:
    """The array in a file, which is read by its suffix."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _numpy_array(path, format.key)
    if suffix == ".exr":
        return _exr_array(path)
    if suffix not in SCORE_SUFFIXES:
        raise ValueError(
            f"{path}: score maps end in {', '.join(SCORE_SUFFIXES)}, got {path.suffix!r}"
        )
    with image_errors(path, "score map"), Image.open(path) as image:
        if image.mode == "P" or len(image.getbands()) > 1:
            raise ValueError(
                f"{path}: expected one channel of scores, got pillow mode {image.mode!r}; this "
                "is an image to look at, save the scores themselves (.npy, float TIFF)"
            )
        return np.array(image)


def _numpy_array(path: Path, key: str | None) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded[_chosen_key(path, loaded.files, key)]
    except _KeyMissing:
        raise
    except _ARRAY_ERRORS as error:
        text = str(error)
        if isinstance(error, FileNotFoundError):
            raise
        if "pickle" in text or "Object arrays" in text:
            raise ValueError(
                f"{path}: holds pickled Python objects, which may run code and are never loaded; "
                "save a plain array: np.save(path, scores.astype(np.float32))"
            ) from None
        raise ValueError(
            f"{path}: no readable array ({text or type(error).__name__}); truncated or of another "
            "type? Write the file again"
        ) from error


class _KeyMissing(ValueError):
    """The file is sound, but which of its arrays holds the scores is not known."""


def _chosen_key(path: Path, keys: list[str], key: str | None) -> str:
    """The given key, or the only one."""
    if key is None and len(keys) == 1:
        return keys[0]
    if key not in keys:
        wanted = "name the one with the scores (--key)" if key is None else f"got key {key!r}"
        raise _KeyMissing(f"{path}: holds the arrays {', '.join(keys) or 'none'}; {wanted}")
    return key


def _exr_array(path: Path) -> np.ndarray:
    import cv2

    if not path.is_file():
        raise FileNotFoundError(f"score map {path} does not exist")
    try:
        array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        array = None
    if array is None:
        raise ValueError(
            f"{path}: OpenCV cannot read it. Set OPENCV_IO_ENABLE_OPENEXR=1 before the start; "
            "where OpenCV was built without OpenEXR or the file is damaged, save .npy or TIFF"
        )
    return array


def _as_map(array: np.ndarray, path: Path) -> np.ndarray:
    """The array as `(H, W)`: axes of length 1 beside height and width are dropped."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: scores must be real numbers, got {array.dtype}")
    shape = array.shape
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{path}: expected one score map (H, W), got an array of shape {shape}")
    return array


def _as_scores(stored: np.ndarray, format: MapFormat, path: Path) -> np.ndarray:
    """Stored numbers as floats; exact but for the rounding of `scale` and `offset`."""
    kind = stored.dtype.kind
    if kind == "f":
        return (
            stored
            if stored.dtype in (np.float32, np.float64)
            else stored.astype(np.float64 if stored.dtype.itemsize > 4 else np.float32)
        )
    if format.scale is not None:
        return format.offset + format.scale * stored.astype(np.float64)
    return stored.astype(np.float32 if stored.dtype.itemsize < 3 else np.float64)


def _size(array: np.ndarray) -> str:
    """Height x width."""
    return "x".join(map(str, array.shape))
