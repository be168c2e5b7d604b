"""Pixel metrics of anomaly score maps in mmengine's evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from ood_seg.evaluation.score_maps import ScoreMapWriter
from ood_seg.evaluation.streamed_images import ImageScores, StreamedImages, sum_over_processes
from ood_seg.io.images import read_image
from ood_seg.labels import (
    ANOMALY,
    IGNORE,
    KNOWN,
    OUTLIER,
    hide_ignored,
    require_distinct_labels,
)
from ood_seg.metrics.checks import above
from ood_seg.metrics.component import ComponentMetrics
from ood_seg.metrics.formatting import metric_title, percent_bounds
from ood_seg.metrics.overlaps import match_components
from ood_seg.metrics.pixel import MODES, PixelMetrics, SplitScores, split_scores
from ood_seg.metrics.protocols import get_protocol
from ood_seg.refinement import Evidence, Refinement

LABEL_SPACES = ("evaluation", "training")
_COMPONENT_METRICS = {"mean_f1": "component_f1", "siou": "siou", "ppv": "ppv"}


@METRICS.register_module()
class AnomalyMetric(BaseMetric):
    """AUROC, AP and FPR95 in percent over the valid pixels of all images.

    Reads from each data sample `pred_anomaly` (data `(1, H, W)`, higher means more anomalous) and
    `gt_sem_seg` (data `(1, H, W)`). Gives `anomaly/auroc`, `anomaly/ap` and `anomaly/fpr95`; NaN
    with a warning where a class has no pixel. With `components` also `anomaly/component_f1`,
    `anomaly/siou` and `anomaly/ppv`.

    Memory: exact metrics keep 4 bytes per valid pixel until the evaluation ends (about 1 GB for
    100 images of 2048x1024), and the main process also receives the scores of the others, by
    files in `collect_dir`. Streaming takes 10 MiB and the last image, whatever the number of
    images and processes. Images that the sampler repeated to fill the processes are not counted
    twice, for which one result per image is needed. Nothing is kept on the accelerator.

    Args:
        label_space: 'evaluation' for ground truth with 0 known, 1 anomaly, 255 ignored;
            'training' for 0..C-1 known, 254 anomaly, 255 ignored. C comes from the dataset's
            `classes`; where it has none, every value up to 253 counts as known.
        ignore_index: in the label space 'training' a further label to be ignored; in a run, by
            default the one that the model's decode head ignores.
        mode: 'exact', 'streaming' (see `ood_seg.metrics.PixelMetrics`), or 'auto': exact as long
            as the scores of all processes together take at most `memory` bytes. Which one was
            used is logged, and is the value of `mode_used` from then on.
        memory: see `mode`.
        protocol: see `ood_seg.metrics.protocols`; all but 'pooled' need all scores, are exact.
        components: `dict(threshold=t, track='anomaly')` for component metrics of the pixels that
            score above t, such as the threshold of the best F1 on other images.
        refinement: steps by which score maps are refined first, see `refinement.Refinement.of`;
            they may read the image and `pred_sem_seg`.
        output_dir: folder for the score maps, `NAME.npy`, float32, `(H, W)`; one for each
            dataset. None writes nothing.
        image_root: folder of the images. Where given, score maps keep the subfolders below it.
        dataset_name: named in the line that is logged at the end.
        collect_device: 'cpu', or 'gpu' (pickles all scores into accelerator memory).
        collect_dir: as in mmengine's `BaseMetric`.
        prefix: replaces 'anomaly' in the names of the metrics.

    Raises:
        ValueError: an unknown `label_space`, `mode`, `protocol` or track, a protocol that cannot
            stream, or `image_root` without `output_dir`.
    """

    default_prefix = "anomaly"

    def __init__(
        self,
        *,
        label_space: str = "evaluation",
        ignore_index: int = IGNORE,
        mode: str = "auto",
        memory: int = 2 * 2**30,
        protocol: str = "pooled",
        components: dict | None = None,
        refinement: Any = None,
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
            raise ValueError(
                "image_root: names the written score maps, so that output_dir is needed as well"
            )
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        if mode == "streaming" and protocol != "pooled":
            raise ValueError(f"the protocol {protocol!r} needs all scores, it cannot stream")
        self.label_space = label_space
        self.ignore_index = ignore_index
        self.protocol = get_protocol(protocol)
        self.mode = mode if protocol == "pooled" else "exact"
        self.memory = memory
        self.mode_used: str | None = None
        self.components = components
        self._start_components()  # checks the options
        self.refinement = None if refinement is None else Refinement.of(refinement).open()
        self._streamed: StreamedImages | None = None
        self._collected_bytes = 0
        self.dataset_name = dataset_name
        self.writer = None if output_dir is None else ScoreMapWriter(output_dir, image_root)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores of a batch by class; write the maps where there is an `output_dir`.

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
            if self.refinement is not None:
                scores = self._refined(scores, sample, image)
            try:
                self._keep(image, scores, self.evaluation_labels(labels))
            except ValueError as error:
                raise ValueError(f"{image}: {error}") from error
            if self.writer is not None:
                self.writer.write(image, scores.cpu().numpy())

    def evaluate(self, size: int) -> dict[str, float]:
        """Metrics over all images of all processes, named with the prefix.

        Args:
            size: images of the dataset, without those that fill up the processes.
        """
        self.mode_used = "exact"
        if self.mode != "exact":
            collected = sum_over_processes(self._collected_bytes)
            self.mode_used = (
                "streaming" if self.mode == "streaming" or collected > self.memory else "exact"
            )
        self._collected_bytes = 0
        if self.mode_used == "exact":
            return super().evaluate(size)
        streamed, self._streamed = self._stream(), None
        streamed.join(size)
        metrics = self._described(streamed.images, streamed.pixels, streamed.components)
        return {f"{self.prefix}/{k}" if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(self, results: list[ImageScores]) -> dict[str, float]:
        """Metrics in percent over all images; logs one line on how they were computed.

        Raises:
            ValueError: there is no image, or two ranks wrote different images to one file.
        """
        pixels, components = PixelMetrics(), self._start_components()
        for result in results:
            pixels.add(result.scores)
            if components is not None and result.components is not None:
                components.add(result.components)
        if self.protocol.name == "pooled" or not results:
            return self._described([result.image for result in results], pixels, components)
        values = self.protocol.evaluate(_joined(result.scores) for result in results)
        return self._described([r.image for r in results], pixels, components, values)

    def _refined(self, scores: torch.Tensor, sample: dict, image: str) -> torch.Tensor:
        assert self.refinement is not None
        needs, labels = self.refinement.needs, None
        if "labels" in needs:
            labels = _read_map(sample, "pred_sem_seg", image).cpu().numpy()
        pixels = read_image(image, grey_ok=True) if "image" in needs else None
        evidence = Evidence(pixels, labels, Path(image).with_suffix("").as_posix())
        return torch.from_numpy(self.refinement(scores.cpu().numpy(), evidence))

    def _keep(self, image: str, scores: torch.Tensor, labels: torch.Tensor) -> None:
        """Keep what the metrics need of one image."""
        split, components = split_scores(scores, labels), None
        if (reference := self._start_components()) is not None:
            mask = above(scores.cpu().numpy(), reference.threshold)
            components = match_components(mask, labels.cpu().numpy(), reference.sizes)
        self.results.append(ImageScores(image, split, components))
        self._collected_bytes += split.known.nbytes + split.anomalous.nbytes
        too_much = self.mode == "auto" and self._collected_bytes > self.memory
        if self.mode == "streaming" or too_much:
            self._stream()

    def _stream(self) -> StreamedImages:
        """Replace the results by sums, and return these."""
        if self._streamed is None:
            self._streamed = StreamedImages(self._start_components())
        self._streamed.add(self.results)
        self.results.clear()
        return self._streamed

    def _start_components(self) -> ComponentMetrics | None:
        try:
            return None if self.components is None else ComponentMetrics(**self.components)
        except TypeError as error:
            raise ValueError(
                "components must be dict(threshold=t, track='anomaly'), as --cfg-options "
                f"components.threshold=t; got {self.components!r} ({error})"
            ) from error

    def _described(
        self,
        images: Sequence[str],
        pixels: PixelMetrics,
        components: ComponentMetrics | None,
        values: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Metrics in percent; checks the written maps, and logs how the numbers were computed."""
        if not images:
            raise ValueError(
                f"AnomalyMetric got no image{self._of_dataset()}; check that the dataset of this "
                "evaluator is not empty"
            )
        if self.writer is not None:
            for image in images:
                self.writer.claim(image)
        bounds = pixels.bounds() if values is None and self.mode_used == "streaming" else {}
        values = pixels.compute() if values is None else values
        print_log(
            f"Anomaly metrics{self._of_dataset()}: {len(images)} images, "
            f"{pixels.num_known} known, {pixels.num_anomalous} anomalous and "
            f"{pixels.num_ignored} ignored pixels; protocol {self.protocol.name} "
            f"({self.protocol.description}); mode {self.mode_used}."
            + _limits(bounds, values.get("num_left_out", 0)),
            logger="current",
        )
        metrics = {name: 100 * values[name] for name in ("auroc", "ap", "fpr95")}
        if components is not None:
            of_components = components.compute()
            metrics |= {name: 100 * of_components[key] for key, name in _COMPONENT_METRICS.items()}
        return metrics

    def _name_of(self, sample: dict) -> str:
        """Path of a sample's image, or its number where only the error messages need a name."""
        if "img_path" in sample:
            return sample["img_path"]
        if self.writer is not None:
            raise KeyError(
                "the data sample has no 'img_path' to name its score map by; let the test "
                "pipeline pack it (PackSegInputs does by default) or drop output_dir"
            )
        seen = len(self.results) + (0 if self._streamed is None else self._streamed.num_images)
        return f"image number {seen} of this process"

    def _of_dataset(self) -> str:
        """The dataset's name for messages, empty if it has none."""
        return "" if self.dataset_name is None else f" of {self.dataset_name}"

    def evaluation_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels as 0 known, 1 anomaly, 255 ignored, of the same shape."""
        if self.label_space == "evaluation":
            return labels
        labels = hide_ignored(labels, self.ignore_index)
        classes = (self.dataset_meta or {}).get("classes") or range(OUTLIER)
        require_distinct_labels(len(classes))
        known = (labels >= 0) & (labels < len(classes))
        meaningless = ~(known | (labels == OUTLIER) | (labels == IGNORE))
        if meaningless.any():
            values, counts = labels[meaningless].unique(return_counts=True)
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
            "a model with an energy head and a dataset with ground truth"
        )
    data = sample[key]["data"]
    data = data[0] if data.ndim == 3 and len(data) == 1 else data
    if data.ndim != 2:
        raise ValueError(f"{image}: {key} must have shape (1, H, W), got {tuple(data.shape)}")
    return data


def _limits(bounds: Mapping[str, tuple[float, float]], num_left_out: float) -> str:
    """Sentences on the limits of the values: bounds of exact ones, images without any."""
    text = ""
    if bounds:
        ranges = (f"{metric_title(name)} {percent_bounds(pair)}" for name, pair in bounds.items())
        text += f" Bounds of the exact values: {', '.join(ranges)}."
    if num_left_out:
        text += f" Left out: {num_left_out:.0f} images that hold one class only."
    return text


def _joined(split: SplitScores) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the valid pixels, in another order than in the image."""
    sizes = split.known.size, split.anomalous.size
    return np.concatenate([split.known, split.anomalous]), np.repeat([KNOWN, ANOMALY], sizes)


def _size(array: torch.Tensor | np.ndarray) -> str:
    """Height x width."""
    return "x".join(map(str, array.shape))
