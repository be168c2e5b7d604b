"""Comparison of an exported model with torch, on fixed images of several sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from ood_seg.export.graph import InferenceGraph

if TYPE_CHECKING:
    from ood_seg.apis.inferencer import AnomalyInferencer

SIZES = ((1, 256, 384), (2, 195, 333), (1, 301, 227))
LEAST_EQUAL_LABELS = 0.9999
LARGEST_DIFFERENCE = 1e-4
LARGEST_JUMP_SHARE = 0.05
_ONE_SIZE = (
    "Some layers, such as pooling pyramids, can only be exported for a single size: give the input "
    "size of the network with --size HEIGHTxWIDTH. "
)


@dataclass(frozen=True)
class Agreement:
    """Differences between two predictors on one batch of images.

    Some scores, such as standardized max logits, depend on the predicted class and are
    discontinuous where it changes. Rounding can flip the label of a pixel whose two largest logits
    are equal, and then the scores around that pixel legitimately differ. Such differences are
    counted in `jump_share` instead of `score`.

    Attributes:
        shape: N, H, W of the images.
        equal_labels: share of pixels with equal labels.
        score: largest difference of scores, relative to the largest magnitude of the reference
            where that exceeds 1; without pixels within `label_reach` of a differing label.
        probability: largest difference between the probabilities of the predictor under test and
            the calibration applied to its own scores (so that a steep curve does not amplify
            differences of scores); None without a calibration.
        finite: whether all scores of the predictor under test are finite.
        jump_share: share of pixels within `label_reach` of a differing label (for scores with
            `jumps`: of all pixels) whose scores differ by more than `LARGEST_DIFFERENCE`; 0 for
            scores that do not depend on the predicted class.
    """

    shape: tuple[int, int, int]
    equal_labels: float
    score: float
    probability: float | None
    finite: bool
    jump_share: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the differences are small enough for an export."""
        return (
            self.finite
            and self.equal_labels >= LEAST_EQUAL_LABELS
            and self.score <= LARGEST_DIFFERENCE
            and (self.probability or 0.0) <= LARGEST_DIFFERENCE
            and self.jump_share <= LARGEST_JUMP_SHARE
        )

    @property
    def requirement(self) -> str:
        """Description of what `holds` requires."""
        text = (
            f"labels equal on {100 * LEAST_EQUAL_LABELS:g} % of the pixels and scores that differ "
            f"by at most {LARGEST_DIFFERENCE:g}"
        )
        if self.jump_share:
            text += f", except near differing labels on at most {100 * LARGEST_JUMP_SHARE:g} %"
        return text

    def __str__(self) -> str:
        parts = [
            "x".join(map(str, self.shape)),
            f"labels equal on {100 * self.equal_labels:.4f} %",
            f"scores differ by at most {self.score:.1e}",
        ]
        if self.probability is not None:
            parts.append(f"probabilities by {self.probability:.1e}")
        if self.jump_share:
            parts.append(f"by more near differing labels, on {100 * self.jump_share:.4f} %")
        return ", ".join(parts) + ("" if self.finite else "; scores are NaN or infinite")


Predictor = Callable[[np.ndarray], dict[str, np.ndarray]]
Curve = Callable[[torch.Tensor], torch.Tensor]


def compare(
    tested: Predictor,
    reference: Predictor,
    images: np.ndarray,
    curve: Curve | None = None,
    *,
    label_reach: float | None = None,
) -> Agreement:
    """Compare `labels` and `score` of two predictors, and `probability` with the calibration.

    Args:
        tested: the predictor under test.
        reference: the predictor to compare with.
        images: `(N, H, W, 3)` uint8.
        curve: calibration of the predictor under test, if it has one.
        label_reach: for a score that depends on the predicted class: distance in pixels up to
            which a changed label changes the score, infinity for one with `jumps`; None for all
            other scores.
    """
    first, second = tested(images), reference(images)
    scores, expected = (np.asarray(part["score"], dtype=np.float64) for part in (first, second))
    difference = np.abs(scores - expected) / max(1.0, float(np.abs(expected).max()))
    flipped = first["labels"] != second["labels"]
    near = _within(flipped, label_reach)
    probability = None
    if curve is not None:
        calibrated = curve(torch.from_numpy(first["score"])).numpy()
        gap = np.subtract(first["probability"], calibrated, dtype=np.float64)
        probability = float(np.abs(gap).max())
    count, height, width = images.shape[:3]
    return Agreement(
        shape=(count, height, width),
        equal_labels=float(np.mean(~flipped)),
        # A NaN difference is kept by the maximum and is not below the tolerance.
        score=float(np.max(np.where(near, 0.0, difference))),
        probability=probability,
        finite=bool(np.isfinite(scores).all()),
        jump_share=float(np.mean(near & ~(difference <= LARGEST_DIFFERENCE))),
    )


def _within(mask: np.ndarray, reach: float | None) -> np.ndarray:
    """Pixels `(N, H, W)` at most `reach` rows and columns from a pixel of the mask.

    All of them for an infinite reach, with or without a pixel in the mask.
    """
    if reach is None or math.isinf(reach):
        return np.full_like(mask, reach is not None)
    square = np.ones((2 * int(reach) + 1, 2 * int(reach) + 1), np.uint8)
    return np.stack([cv2.dilate(part.astype(np.uint8), square) > 0 for part in mask])


def label_reach(graph: InferenceGraph, height: int, width: int) -> float | None:
    """Distance up to which a changed label changes the score of a graph, in pixels of the image.

    Args:
        graph: the exported model.
        height: of the image.
        width: of the image.

    Returns:
        None for a score that does not depend on the predicted class; infinity for one that jumps
        where any two classes swap places.
    """
    head = graph.model.energy_head
    if getattr(head.score, "jumps", False):
        return math.inf
    reach = getattr(head.score, "label_reach", None)
    if reach is None:
        return None
    reach += 0 if head.smoothing is None else head.smoothing.kernel_size // 2
    rows, columns = graph.preprocessing.size.network_size(height, width)
    # One more pixel for the interpolation of the score map to the image's size.
    return int(np.ceil(reach * max(1.0, height / rows, width / columns))) + 1


def compare_all(tested: Predictor, reference: Predictor, graph: InferenceGraph) -> list[Agreement]:
    """Compare on one batch of synthetic images for each of `SIZES`.

    Args:
        tested: the predictor under test.
        reference: the predictor to compare with.
        graph: the model that both compute; its calibration belongs to the predictor under test.
    """
    return [
        compare(
            tested,
            reference,
            synthetic_images(shape, seed),
            graph.curve,
            label_reach=label_reach(graph, *shape[1:]),
        )
        for seed, shape in enumerate(SIZES)
    ]


def synthetic_images(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Images `(N, H, W, 3)` uint8 of smooth patches with some noise."""
    count, height, width = shape
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        coarse = rng.uniform(0, 255, (9, 13, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        images.append(smooth + rng.normal(0, 6, smooth.shape))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def torch_predictor(graph: InferenceGraph) -> Predictor:
    """The graph in torch as a predictor of BGR images `(N, H, W, 3)`."""

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        maps = torch.from_numpy(as_input(images, graph))
        with torch.inference_mode():
            arrays = [part.numpy() for part in graph(maps)]
        return _named(dict(zip(graph.outputs, arrays, strict=True)))

    return predict


def file_predictor(path: Path, graph: InferenceGraph) -> Predictor:
    """An exported file in ONNX Runtime as a predictor of BGR images `(N, H, W, 3)`.

    The predictor raises `ValueError` if the file cannot be run, as with networks that contain
    constants of the size they were exported with.
    """
    from ood_seg.runtimes import open_runtime

    run = open_runtime(path, "onnxruntime", device="cpu")

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return _named(run(as_input(images, graph)))
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            reason = str(error).strip().partition("\n")[0]
            size = "x".join(map(str, images.shape[1:3]))
            remedy = "" if graph.preprocessing.size.kind == "fixed" else _ONE_SIZE
            raise ValueError(
                f"ONNX Runtime cannot run the exported model on images of {size}: {reason}. "
                f"{remedy}The file is kept as {path}"
            ) from error

    return predict


def pipeline_predictor(inferencer: AnomalyInferencer) -> Predictor:
    """The config's own test pipeline and model as a predictor of BGR images `(N, H, W, 3)`."""

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        results = inferencer.predict(list(images))
        return {
            "labels": np.stack([result.labels for result in results]),
            "score": np.stack([result.anomaly for result in results]),
        }

    return predict


def as_input(images: np.ndarray, graph: InferenceGraph) -> np.ndarray:
    """BGR images `(N, H, W, 3)` uint8 in the layout, channel order and dtype of the graph."""
    images = images[..., ::-1] if graph.colour == "rgb" else images
    images = images.transpose(0, 3, 1, 2) if graph.layout == "nchw" else images
    return np.ascontiguousarray(images, dtype=graph.input_type)


def _named(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs with `score`, and with `probability` if there is a calibration."""
    if "score" in outputs:
        return {**outputs, "probability": outputs["anomaly"]}
    return {**outputs, "score": outputs["anomaly"]}
