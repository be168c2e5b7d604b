"""Does the exported file say the same as torch, and by how much does it differ?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from ood_seg.export.graph import InferenceGraph

SIZES = ((1, 256, 384), (2, 195, 333), (1, 301, 227))
LEAST_EQUAL_LABELS = 0.9999
LARGEST_DIFFERENCE = 1e-4
LARGEST_JUMP_SHARE = 0.05
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
            above one. Where a score jumps with the predicted class, pixels within its
            `label_reach` of a pixel with another label do not count here, but in `jumps`.
        probability: largest difference of the first one's probabilities from those that the
            calibration gives to its scores (a steep curve would enlarge differences of scores);
            None without a calibration.
        finite: whether all scores are finite.
        jumps: share of the pixels near another label whose scores or probabilities differ by more
            than `LARGEST_DIFFERENCE`; 0 for scores that do not depend on the predicted class.
    """

    shape: tuple[int, int, int]
    equal_labels: float
    score: float
    probability: float | None
    finite: bool
    jumps: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it is as close as an export must be."""
        return (
            self.finite
            and self.equal_labels >= LEAST_EQUAL_LABELS
            and self.score <= LARGEST_DIFFERENCE
            and (self.probability or 0.0) <= LARGEST_DIFFERENCE
            and self.jumps <= LARGEST_JUMP_SHARE
        )

    def __str__(self) -> str:
        parts = [
            "x".join(map(str, self.shape)),
            f"labels equal on {100 * self.equal_labels:.4f} %",
            f"scores differ by at most {self.score:.1e}",
        ]
        if self.probability is not None:
            parts.append(f"probabilities by {self.probability:.1e}")
        if self.jumps:
            parts.append(f"more near other labels, on {100 * self.jumps:.4f} % of the pixels")
        return ", ".join(parts) + ("" if self.finite else "; scores are NaN or infinite")


Predictor = Callable[[np.ndarray], dict[str, np.ndarray]]
Curve = Callable[[torch.Tensor], torch.Tensor]


def compare(
    one: Predictor,
    other: Predictor,
    images: np.ndarray,
    curve: Curve | None = None,
    *,
    label_reach: int | None = None,
) -> Agreement:
    """Run both on images `(N, H, W, 3)` uint8 and compare `labels` and `score`.

    Args:
        one: the predictor under test.
        other: the reference.
        images: `(N, H, W, 3)` uint8.
        curve: the calibration of the first one, if it has one.
        label_reach: for a score that jumps where the predicted class changes, how many pixels far;
            None for all others. A label may flip by rounding where two logits are equal.
    """
    first, second = one(images), other(images)
    scores = [np.asarray(part["score"], dtype=np.float64) for part in (first, second)]
    size = max(1.0, float(np.abs(scores[1]).max()))
    differing = first["labels"] != second["labels"]
    near = _near(differing, label_reach)
    gaps = {"score": np.abs(scores[0] - scores[1]) / size}
    if curve is not None:
        expected = curve(torch.from_numpy(first["score"])).numpy()
        gaps["probability"] = np.abs(np.subtract(first["probability"], expected, dtype=np.float64))
    jumps = near & (gaps["score"] > LARGEST_DIFFERENCE)
    return Agreement(
        shape=tuple(images.shape[:3]),
        equal_labels=float(np.mean(~differing)),
        # NaN stays NaN, and holds nothing.
        score=float(np.max(np.where(near, 0.0, gaps["score"]))),
        probability=float(gaps["probability"].max()) if curve is not None else None,
        finite=bool(np.isfinite(scores[0]).all()),
        jumps=float(jumps.mean()),
    )


def _near(differing: np.ndarray, reach: int | None) -> np.ndarray:
    """Pixels `(N, H, W)` at most `reach` rows and columns from a differing one."""
    if reach is None:
        return np.zeros_like(differing)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.stack([cv2.dilate(mask.astype(np.uint8), square) > 0 for mask in differing])


def label_reach(graph: InferenceGraph, height: int, width: int) -> int | None:
    """How far from a changed label the score of a graph jumps, in pixels of the image.

    Args:
        graph: the exported model.
        height: of the image.
        width: of the image.

    Returns:
        None for a score that does not depend on the predicted class.
    """
    head = graph.model.energy_head
    reach = getattr(head.score, "label_reach", None)
    if reach is None:
        return None
    reach += 0 if head.smoothing is None else head.smoothing.kernel_size // 2
    rows, columns = graph.preprocessing.size.network_size(height, width)
    # One pixel more where the score map is interpolated to the image's size.
    return int(np.ceil(reach * max(1.0, height / rows, width / columns))) + 1


def compare_all(one: Predictor, other: Predictor, graph: InferenceGraph) -> list[Agreement]:
    """Compare on the images that every export is checked on, one batch of each size.

    Args:
        one: the predictor under test.
        other: the reference.
        graph: what both compute; its calibration is that of the first.
    """
    return [
        compare(
            one,
            other,
            pictures(shape, seed),
            graph.curve,
            label_reach=label_reach(graph, *shape[1:]),
        )
        for seed, shape in enumerate(SIZES)
    ]


def pictures(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Made-up pictures `(N, H, W, 3)` uint8: smooth patches with some noise."""
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
