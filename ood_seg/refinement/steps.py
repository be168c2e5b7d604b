"""The refinements by name: their parameters, where their evidence comes from, one call each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.refinement.boxes import lowered_in_known_boxes
from ood_seg.refinement.evidence import Evidence, require_size
from ood_seg.refinement.image_models import saliency_of
from ood_seg.refinement.pooling import layered, pooled
from ood_seg.refinement.saliency import CITYSCAPES_OBJECTS, raised_by_saliency
from ood_seg.refinement.segments import (
    felzenszwalb_segments,
    grid_segments,
    slic_segments,
    without_slivers,
)
from ood_seg.refinement.sources import BoxFile, mask_files, saliency_files
from ood_seg.refinement.step import ModelOrFolderStep, SourceStep, Step

METHODS = ("watershed", "slic", "felzenszwalb")


@dataclass(frozen=True)
class Segments(Step):
    """Means of segments of the image, averaged over coarser and finer segments.

    Attributes:
        method: `watershed` (OpenCV), or `slic` or `felzenszwalb` of scikit-image.
        across: segments along the longer side, one number or several; for `felzenszwalb` its
            scale instead.
        weight: of the mean, 0 to 1.
    """

    kind = "segments"
    method: str = "watershed"
    across: Any = (8, 11, 16, 21)
    weight: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise self._wrong("method", f"one of {', '.join(METHODS)}")
        self._numbers("across", lambda one: 1 <= one <= 512, "numbers from 1 to 512")
        if not self.across:
            raise self._wrong("across", "at least one number")
        if self.method != "felzenszwalb" and any(one != int(one) for one in self.across):
            raise self._wrong("across", "integers")
        self._number("weight", 0, 1)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("image",)

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        find: Callable[[np.ndarray, Any], np.ndarray] = {
            "watershed": grid_segments,
            "slic": slic_segments,
            "felzenszwalb": felzenszwalb_segments,
        }[self.method]
        total = np.zeros(scores.shape, np.float32)
        for across in self.across:
            regions = find(np.asarray(evidence.image), across)
            total += pooled(scores, regions, weight=self.weight)
        return total / np.float32(len(self.across))

    def open(self) -> None:
        if self.method != "watershed":
            import skimage.segmentation  # noqa: F401  named in an error if it is missing


@dataclass(frozen=True)
class Slivers(Step):
    """`without_slivers`.

    Attributes:
        width: pixels.
    """

    kind = "slivers"
    width: int = 15

    def __post_init__(self) -> None:
        if type(self.width) is not int or not 1 <= self.width <= 255:
            raise self._wrong("width", "an integer from 1 to 255")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("labels",)

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        return without_slivers(scores, np.asarray(evidence.labels), width=self.width)


@dataclass(frozen=True)
class Masks(ModelOrFolderStep):
    """Means of class-agnostic masks; scores outside of all masks stay.

    Attributes:
        source: folder of `sources.mask_files`; or an ONNX model whose output has one map a mask.
        weight: of the mean, 0 to 1.
        threshold: of the model's maps, above which a pixel belongs to the mask.
    """

    kind = "masks"
    weight: float = 1.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number("weight", 0, 1)
        self._number("threshold", -math.inf)

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        masks = self._evidence(evidence.masks, evidence, scores.shape)
        regions = layered(masks)
        require_size(regions, scores.shape, "masks")
        return pooled(scores, regions, weight=self.weight, keep=0)

    def _open(self, path: Path) -> Callable[[Evidence, tuple[int, int]], Any]:
        if not self._has_model:
            files = mask_files(path)
            return lambda evidence, size: files(evidence.name, size)
        model = self._model(path)
        return lambda evidence, size: model(np.asarray(evidence.image)) > self.threshold


@dataclass(frozen=True)
class Boxes(SourceStep):
    """`lowered_in_known_boxes`.

    Attributes:
        source: file of `sources.BoxFile`.
        weight, outside: units of the score.
    """

    kind = "boxes"
    weight: Any = None
    outside: float = 0.0

    def __post_init__(self) -> None:
        _require_weight(self)
        self._number("outside", 0)

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        boxes = self._evidence(evidence.boxes, evidence, scores.shape)
        return lowered_in_known_boxes(scores, boxes, weight=self.weight, outside=self.outside)

    def _open(self, path: Path) -> Callable[[Evidence, tuple[int, int]], Any]:
        file = BoxFile(path)
        return lambda evidence, size: file(evidence.name, size)


@dataclass(frozen=True)
class Saliency(ModelOrFolderStep):
    """`raised_by_saliency`.

    Attributes:
        source: folder of `sources.saliency_files`; or an ONNX model with one map from 0 to 1.
        weight: units of the score.
        known: numbers of the classes that are salient themselves; by default the persons and
            vehicles of Cityscapes, none: `()`.
        confident: score up to which such a label is trusted; None: it always is.
    """

    kind = "saliency"
    weight: Any = None
    known: Any = CITYSCAPES_OBJECTS
    confident: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_weight(self)
        if self.known is None:
            object.__setattr__(self, "known", ())
        self._numbers("known", lambda one: one == int(one) >= 0, "class numbers from 0, or none")
        if self.confident is not None:
            self._number("confident", -math.inf)

    @property
    def needs(self) -> tuple[str, ...]:
        return (*super().needs, *(("labels",) if self.known else ()))

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        saliency = self._evidence(evidence.saliency, evidence, scores.shape)
        return raised_by_saliency(
            scores,
            saliency,
            evidence.labels,
            weight=self.weight,
            known=self.known,
            confident=self.confident,
        )

    def _open(self, path: Path) -> Callable[[Evidence, tuple[int, int]], Any]:
        if not self._has_model:
            files = saliency_files(path)
            return lambda evidence, size: files(evidence.name, size)
        model, origin = self._model(path), f"{self.kind}: {path}"
        return lambda evidence, size: saliency_of(model, np.asarray(evidence.image), origin)


STEPS: Mapping[str, type[Step]] = {
    kind.kind: kind for kind in (Segments, Slivers, Masks, Boxes, Saliency)
}


def _require_weight(step: Any) -> None:
    if step.weight is None:
        raise ValueError(
            f"{step.kind}: weight: expected units of the score, such as weight=8 for energies; "
            "choose it on validation images, never on those that are reported"
        )
    step._number("weight", 0)
