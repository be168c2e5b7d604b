"""Does the exported file say the same as torch, and by how much does it differ?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ood_seg.export.graph import InferenceGraph

SIZES = ((1, 256, 384), (2, 195, 333), (1, 301, 227))
LEAST_EQUAL_LABELS = 0.9999
LARGEST_DIFFERENCE = 1e-4
_ONE_SIZE = (
    "Some layers, such as pooling pyramids, can be exported for one size alone: give the size that "
    "the network shall see, --size HEIGHTxWIDTH. "
)


@dataclass(frozen=True)
class Agreement:
    """How one batch of images differs between two ways of computing.

    Attributes:
        shape: N, H, W of the images.
        equal_labels: share of pixels with the same label.
        score: largest difference of scores, relative to their largest magnitude where that is
            above one.
        probability: largest difference of the first one's probabilities from those that the
            calibration gives to its scores (a steep curve would enlarge differences of scores);
            None without a calibration.
        finite: whether all scores are finite.
    """

    shape: tuple[int, int, int]
    equal_labels: float
    score: float
    probability: float | None
    finite: bool

    @property
    def holds(self) -> bool:
        """Whether it is as close as an export must be."""
        return (
            self.finite
            and self.equal_labels >= LEAST_EQUAL_LABELS
            and self.score <= LARGEST_DIFFERENCE
            and (self.probability or 0.0) <= LARGEST_DIFFERENCE
        )

    def __str__(self) -> str:
        parts = [
            "x".join(map(str, self.shape)),
            f"labels equal on {100 * self.equal_labels:.4f} %",
            f"scores differ by at most {self.score:.1e}",
        ]
        if self.probability is not None:
            parts.append(f"probabilities by {self.probability:.1e}")
        return ", ".join(parts) + ("" if self.finite else "; scores are NaN or infinite")


Predictor = Callable[[np.ndarray], dict[str, np.ndarray]]
Curve = Callable[[torch.Tensor], torch.Tensor]


def compare(
    one: Predictor, other: Predictor, images: np.ndarray, curve: Curve | None = None
) -> Agreement:
    """Run both on images `(N, H, W, 3)` uint8 and compare `labels` and `score`."""
    first, second = one(images), other(images)
    scores = [np.asarray(part["score"], dtype=np.float64) for part in (first, second)]
    size = max(1.0, float(np.abs(scores[1]).max()))
    probability = None
    if curve is not None:
        expected = curve(torch.from_numpy(first["score"])).numpy()
        probability = _largest(first["probability"], expected)
    return Agreement(
        shape=tuple(images.shape[:3]),
        equal_labels=float(np.mean(first["labels"] == second["labels"])),
        score=_largest(*scores) / size,
        probability=probability,
        finite=bool(np.isfinite(scores[0]).all()),
    )


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(np.subtract(one, other, dtype=np.float64))))


def compare_all(one: Predictor, other: Predictor, curve: Curve | None) -> list[Agreement]:
    """Compare on the images that every export is checked on, one batch of each size."""
    batches = (pictures(shape, seed) for seed, shape in enumerate(SIZES))
    return [compare(one, other, batch, curve) for batch in batches]


def pictures(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Made-up pictures `(N, H, W, 3)` uint8: smooth patches with some noise."""
    import cv2

    count, height, width = shape
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = rng.uniform(0, 255, (9, 13, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        made.append(smooth + rng.normal(0, 6, smooth.shape))
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


def torch_predictor(graph: InferenceGraph) -> Predictor:
    """The graph in torch as a predictor of BGR images, whatever its input's layout."""

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        maps = torch.from_numpy(as_input(images, graph))
        with torch.inference_mode():
            arrays = [part.numpy() for part in graph(maps)]
        return _named(dict(zip(graph.outputs, arrays, strict=True)))

    return predict


def file_predictor(path: Path, graph: InferenceGraph) -> Predictor:
    """An exported file in ONNX Runtime as a predictor of BGR images.

    The predictor raises `ValueError` where the file does not run, as with networks that hold
    numbers of the size that they were exported at.
    """
    from ood_seg.deploy.runtimes import open_runtime

    run = open_runtime(path, "onnxruntime", device="cpu")

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        try:
            return _named(run(as_input(images, graph)))
        except Exception as error:  # its errors share no base class of their own
            reason = str(error).strip().partition("\n")[0]
            size = "x".join(map(str, images.shape[1:3]))
            remedy = "" if graph.preprocessing.size.kind == "fixed" else _ONE_SIZE
            raise ValueError(
                f"ONNX Runtime cannot run the exported model on images of {size}: {reason}. "
                f"{remedy}The file is kept as {path}"
            ) from error

    return predict


def pipeline_predictor(inferencer: Callable) -> Predictor:
    """The config's own test pipeline and model, one image at a time."""

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        results = inferencer.predict(list(images))
        return {
            "labels": np.stack([result.labels for result in results]),
            "score": np.stack([result.anomaly for result in results]),
        }

    return predict


def as_input(images: np.ndarray, graph: InferenceGraph) -> np.ndarray:
    """BGR images `(N, H, W, 3)` uint8 as the graph wants them."""
    images = images[..., ::-1] if graph.colour == "rgb" else images
    images = images.transpose(0, 3, 1, 2) if graph.layout == "nchw" else images
    return np.ascontiguousarray(images, dtype=graph.input_type)


def _named(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Score and probability by their names, calibrated or not."""
    if "score" in outputs:
        return {**outputs, "probability": outputs["anomaly"]}
    return {**outputs, "score": outputs["anomaly"]}
