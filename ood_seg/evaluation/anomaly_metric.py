"""Pixel metrics of anomaly score maps in mmengine's evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from ood_seg.evaluation.score_maps import ScoreMapWriter
from ood_seg.labels import ANOMALY, IGNORE, KNOWN, OUTLIER
from ood_seg.metrics.pixel import PixelMetrics, SplitScores, split_scores

LABEL_SPACES = ("evaluation", "training")
PROTOCOL = "pooled over pixels, FPR95 at the first threshold with TPR >= 95 %"


@dataclass(frozen=True)
class ImageScores:
    """What is kept of one image, and sent to the main process when there are several.

    No named tuple, because mmengine turns tuples among the results into plain ones.
    """

    image: str
    scores: SplitScores


@METRICS.register_module()
class AnomalyMetric(BaseMetric):
    """AUROC, AP and FPR95 in percent, exact, pooled over the valid pixels of all images.

    Reads from each data sample `pred_anomaly` (data `(1, H, W)`, higher means more anomalous) and
    `gt_sem_seg` (data `(1, H, W)`). Gives `anomaly/auroc`, `anomaly/ap` and `anomaly/fpr95`; NaN
    with a warning where a class has no pixel.

    Memory: 4 bytes per valid pixel until the evaluation ends (about 1 GB for 100 images of
    2048x1024). With several processes the main one also receives the scores of the others, by
    files in `collect_dir`; mmengine drops what it had padded, for which one result per image is
    needed. Nothing is kept on the accelerator.

    Args:
        label_space: 'evaluation' for ground truth with 0 known, 1 anomaly, 255 ignored;
            'training' for 0..C-1 known, 254 anomaly, 255 ignored. C comes from the data set's
            `classes`; where it has none, every value up to 253 counts as known.
        output_dir: folder for the score maps, `NAME.npy`, float32, `(H, W)`; one for each data
            set. None writes nothing.
        image_root: folder of the images. Where given, score maps keep the subfolders below it.
        dataset_name: named in the line that is logged at the end.
        collect_device: 'cpu', or 'gpu' (pickles all scores into accelerator memory).
        collect_dir: as in mmengine's `BaseMetric`.
        prefix: replaces 'anomaly' in the names of the metrics.

    Raises:
        ValueError: `label_space` is none of the two, or `image_root` stands without `output_dir`.
    """

    default_prefix = "anomaly"

    def __init__(
        self,
        *,
        label_space: str = "evaluation",
        output_dir: str | Path | None = None,
        image_root: str | Path | None = None,
        dataset_name: str | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if label_space not in LABEL_SPACES:
            raise ValueError(f"label_space must be one of {LABEL_SPACES}, got {label_space!r}")
        if image_root is not None and output_dir is None:
            raise ValueError("image_root names written score maps; give output_dir as well")
        self.label_space = label_space
        self.dataset_name = dataset_name
        self.writer = None if output_dir is None else ScoreMapWriter(output_dir, image_root)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores of a batch by class; write the maps if asked to.

        Raises:
            ValueError: a score map is not finite, its size differs from the ground truth's, a
                label has no meaning, or another image has the same output file. Names the image.
            KeyError: a data sample has no score map, no ground truth, or, with `output_dir`, no
                image path.
        """
        for sample in data_samples:
            image = self._name_of(sample)
            scores = _read_map(sample, "pred_anomaly", image).float()
            labels = _read_map(sample, "gt_sem_seg", image)
            if scores.shape != labels.shape:
                raise ValueError(
                    f"{image}: the score map has size {_size(scores)} but the ground truth "
                    f"{_size(labels)} (height x width); load the labels after the resize of the "
                    "test pipeline, so that both have the image's own size"
                )
            try:
                split = split_scores(scores, self._to_evaluation_space(labels))
            except ValueError as error:
                raise ValueError(f"{image}: {error}") from error
            self.results.append(ImageScores(image, split))
            if self.writer is not None:
                self.writer.write(image, scores.cpu().numpy())

    def compute_metrics(self, results: list[ImageScores]) -> dict[str, float]:
        """Metrics in percent over all images; logs one line with what they rest on.

        Raises:
            ValueError: there is no image, or two ranks wrote different images to one file.
        """
        if not results:
            raise ValueError(
                f"AnomalyMetric got no image{self._of_data_set()}; check that the data set of this "
                "evaluator is not empty"
            )
        pixels = PixelMetrics()
        for result in results:
            pixels.add(result.scores)
            if self.writer is not None:
                self.writer.claim(result.image)
        print_log(
            f"Anomaly metrics{self._of_data_set()}: {len(results)} images, "
            f"{pixels.num_known} known, {pixels.num_anomalous} anomalous and "
            f"{pixels.num_ignored} ignored pixels; {PROTOCOL}.",
            logger="current",
        )
        return {name: 100 * value for name, value in pixels.compute().items()}

    def _name_of(self, sample: dict) -> str:
        """Path of a sample's image, or its number where only the error messages need a name."""
        if "img_path" in sample:
            return sample["img_path"]
        if self.writer is not None:
            raise KeyError(
                "the data sample has no 'img_path' to name its score map by; let the test "
                "pipeline pack it (PackSegInputs does by default) or drop output_dir"
            )
        return f"image number {len(self.results)} of this process"

    def _of_data_set(self) -> str:
        """The data set's name for messages, empty if it has none."""
        return "" if self.dataset_name is None else f" of {self.dataset_name}"

    def _to_evaluation_space(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels as 0 known, 1 anomaly, 255 ignored, of the same shape."""
        if self.label_space == "evaluation":
            return labels
        classes = (self.dataset_meta or {}).get("classes") or range(OUTLIER)
        known = (labels >= 0) & (labels < len(classes))
        strange = ~(known | (labels == OUTLIER) | (labels == IGNORE))
        if strange.any():
            values, counts = labels[strange].unique(return_counts=True)
            found = dict(zip(values.tolist(), counts.tolist(), strict=True))
            raise ValueError(
                f"labels must be 0..{len(classes) - 1} (known), {OUTLIER} (anomaly) or {IGNORE} "
                f"(ignored), got also {{value: pixels}} {found}"
            )
        mapped = torch.full_like(labels, IGNORE, dtype=torch.uint8)
        mapped[known] = KNOWN
        mapped[labels == OUTLIER] = ANOMALY
        return mapped


def _read_map(sample: dict, key: str, image: str) -> torch.Tensor:
    """A map `(H, W)` from a data sample that holds it as `(1, H, W)` or `(H, W)`."""
    if key not in sample:
        raise KeyError(
            f"{image}: the data sample has no {key!r}, only {sorted(sample)}; AnomalyMetric needs "
            "a model with an energy head and a data set with ground truth"
        )
    data = sample[key]["data"]
    data = data[0] if data.ndim == 3 and len(data) == 1 else data
    if data.ndim != 2:
        raise ValueError(f"{image}: {key} must have shape (1, H, W), got {tuple(data.shape)}")
    return data


def _size(array: torch.Tensor | np.ndarray) -> str:
    """Height x width."""
    return "x".join(map(str, array.shape))
