"""All scores of an image-level model on the known test images and on sets of outlier images.

known set ----> scores of all images, once -.
outlier set --> scores of all images -------+-> ScoreCounts -> metrics of the set
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Subset

from ood_seg import __version__
from ood_seg.classification.evaluations import NOT_PREDICTED, ScoredImages, image_evaluation
from ood_seg.comparison.counts import ScoreCounts
from ood_seg.comparison.measuring import Cost
from ood_seg.comparison.model_scores import ModelScores
from ood_seg.engine.test_sets import named_sets
from ood_seg.evaluation.image_tasks import warnings_as_notes
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.io.json_files import plain
from ood_seg.labels import ANOMALY, KNOWN, OUTLIER
from ood_seg.progress import tracked
from ood_seg.reports import write_reports
from ood_seg.reports.image_examples import IMAGES
from ood_seg.spelling import did_you_mean


@dataclass(frozen=True)
class ImageScores:
    """Scores of one method for all images of a set.

    Attributes:
        values: `(N,)`.
        cost: of the method's own work on all images; memory is that of the first batch.
    """

    values: np.ndarray
    cost: Cost


class ImageSet:
    """Test images of one set, known or outlier.

    Args:
        name: of the set.
        loader: config of its data loader.
        num_images: so many of them, spread evenly; None: all.

    Attributes:
        config: of the dataset.
        size: number of images.
        positions: of the images in the dataset.
        paths: of the images, or their names.
        labels: `(N,)`, 0..C-1 or `OUTLIER`.
    """

    def __init__(self, name: str, loader: Mapping[str, Any], num_images: int | None) -> None:
        self.name = name
        self.config = loader["dataset"]
        self.dataset = DATASETS.build(self.config)
        self.size = len(self.dataset) if num_images is None else min(num_images, len(self.dataset))
        self._options = {key: loader.get(key, 1) for key in ("batch_size",)}
        self._options["num_workers"] = loader.get("num_workers", 0)
        # Spread evenly, because the images are in the order of their classes.
        spread = np.linspace(0, len(self.dataset) - 1, self.size)
        self.positions = np.rint(spread).astype(int).tolist()
        infos = map(self.dataset.get_data_info, self.positions)
        self.paths, labels = zip(
            *((info["img_path"], info["gt_label"]) for info in infos), strict=True
        )
        self.labels = np.array(labels)

    def identity(self) -> dict[str, Any]:
        """The configuration of the data, as JSON values."""
        config = plain({key: value for key, value in self.config.items() if key != "_scope_"})
        return {"data": config, "images": self.size, "ood_seg": __version__}

    def scored(self, found: ImageScores) -> ScoredImages:
        """The images with scores of one method; predicted classes are not known."""
        nothing = np.full(self.size, NOT_PREDICTED)
        return ScoredImages(list(self.paths), self.labels, nothing, found.values.astype(np.float32))

    def scores(
        self, model: ModelScores, folder: Path
    ) -> tuple[dict[str, ImageScores], dict[str, str]]:
        """Scores by method, and why a method has none; shows the progress.

        Args:
            model: computes them.
            folder: keeps them, so that an interrupted comparison resumes with the next set.
        """
        store = {
            name: (PartialResults(folder, {**self.identity(), **one.options}), one.files)
            for name, one in model.identities.items()
        }
        found: dict[str, ImageScores] = {}
        for name, (parts, files) in store.items():
            if (state := parts.load(name, files)) is not None:
                peak = None if np.isnan(state["memory"]) else int(state["memory"])
                found[name] = ImageScores(state["values"], Cost(float(state["seconds"]), peak))
        wanted = [name for name in model.names if name not in found]
        computed, failures = self._computed(model, wanted) if wanted else ({}, {})
        for name, one in computed.items():
            parts, files = store[name]
            memory = np.nan if one.cost.memory is None else one.cost.memory
            costs = {"seconds": np.array(one.cost.seconds), "memory": np.array(memory)}
            parts.save(name, files, {"values": one.values, **costs})
        return {**found, **computed}, failures

    def _computed(
        self, model: ModelScores, names: Sequence[str]
    ) -> tuple[dict[str, ImageScores], dict[str, str]]:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        seconds, memory = dict.fromkeys(names, 0.0), dict.fromkeys(names)
        failures: dict[str, str] = {}
        samples = Subset(self.dataset, self.positions)
        loader = DataLoader(samples, collate_fn=pseudo_collate, **self._options)
        for batch in tracked(loader, self.name, len(samples), size=_num_images):
            is_first = not any(parts.values())
            left = [name for name in names if name not in failures]
            for scored in model.scores(batch, left, memory=is_first):
                reason = scored.failure or _problem(scored.scores, len(batch["inputs"]))
                if reason:
                    first = batch["data_samples"][0].img_path
                    failures[scored.name] = f"batch of {first}: {reason}"
                    continue
                parts[scored.name].append(_array(scored.scores))
                seconds[scored.name] += scored.cost.seconds
                memory[scored.name] = memory[scored.name] or scored.cost.memory
        return {
            name: ImageScores(np.concatenate(values), Cost(seconds[name], memory[name]))
            for name, values in parts.items()
            if name not in failures
        }, failures


def _array(scores: Any) -> np.ndarray:
    return scores.cpu().numpy() if isinstance(scores, torch.Tensor) else np.asarray(scores)


def _problem(scores: Any, count: int) -> str:
    """Why scores cannot be used; empty if they can."""
    values = _array(scores)
    if values.shape != (count,):
        return f"scores of shape {values.shape}, expected one for each of {count} images"
    return "" if np.isfinite(values).all() else "scores must be finite"


def image_sets(
    cfg: Config, names: Sequence[str] | None = None, num_images: int | None = None
) -> tuple[ImageSet, list[ImageSet]]:
    """The set of known test images of an image-level config, and those of outlier images.

    Args:
        cfg: the config.
        names: of the wanted outlier sets; None or empty: all.
        num_images: see `ImageSet`.

    Raises:
        ValueError: a name is unknown.
    """
    loaders = {name: loader for name, (loader, _) in named_sets(cfg).items()}
    known = cfg.test_cfg.known
    outliers = [name for name in loaders if name != known]
    unknown = [name for name in names or () if name not in loaders]
    if unknown:
        raise ValueError(
            f"sets: no test set {', '.join(unknown)} in the config"
            f"{did_you_mean(unknown[0], outliers)}; available: {', '.join(outliers)}"
        )
    wanted = [name for name in names or outliers if name != known]
    return (
        ImageSet(known, loaders[known], num_images),
        [ImageSet(name, loaders[name], num_images) for name in wanted],
    )


def compare_image_sets(
    known: ImageSet, outlier_sets: Sequence[ImageSet], model: ModelScores, folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Results by outlier set for `benchmark.json`, and the failures by name.

    Writes `FOLDER/../SET/report.html` with the worst and the best images of each outlier set.

    Args:
        known: the known test images.
        outlier_sets: each is compared with them.
        model: computes the scores.
        folder: of the scores of each set.
    """
    known_scores, failures = known.scores(model, folder / known.name)
    failures = {name: f"{known.name}: {reason}" for name, reason in failures.items()}
    results = {}
    for one in outlier_sets:
        scores, failed = one.scores(model, folder / one.name)
        failures |= {name: f"{one.name}: {reason}" for name, reason in failed.items()}
        labels = np.concatenate([known.labels, one.labels])
        kinds = np.where(labels == OUTLIER, ANOMALY, KNOWN).astype(np.uint8)
        described: dict[str, Any] = {}
        notes: list[str] = []
        pixels = None
        for name in model.names:
            if name not in scores or name not in known_scores:
                continue
            pair = known_scores[name], scores[name]
            counts = ScoreCounts()
            values = np.concatenate([part.values for part in pair]).astype(np.float32)
            cost = Cost(sum(part.cost.seconds for part in pair), pair[0].cost.memory)
            counts.add(values, kinds, cost)
            counts.images = len(values)
            with warnings_as_notes() as hints:
                described[name] = counts.described()
            notes += [f"{one.name}, {name}: {hint}" for hint in hints]
            pixels = counts.pixels()
        _write_report(
            known,
            one,
            {name: (known_scores[name], scores[name]) for name in described},
            folder.parent,
        )
        results[one.name] = {
            "images": one.size,
            "dataset": one.config.get("type"),
            "data_root": str(one.config.get("data_root")),
            "pixels": pixels,
            "scores": described,
            "notes": notes,
            "shared": None,
        }
    return results, failures


def _num_images(batch: dict) -> int:
    return len(batch["inputs"])


def _write_report(
    known: ImageSet,
    other: ImageSet,
    scores: Mapping[str, tuple[ImageScores, ImageScores]],
    folder: Path,
) -> None:
    """Write the report of a set with all methods, the first of which ranks the images."""
    classes = known.dataset.metainfo["classes"]
    evaluations = [
        image_evaluation(
            known.scored(first),
            other.scored(second),
            method=name,
            data_set=other.name,
            classes=classes,
        )
        for name, (first, second) in scores.items()
    ]
    if evaluations:
        write_reports(evaluations, folder / other.name, ("html", "csv"), IMAGES)
