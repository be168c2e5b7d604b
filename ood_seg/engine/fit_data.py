"""The data that `fit` reads: known images, and pasted scenes for the methods that need them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.model import BaseModel
from mmseg.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from ood_seg.classification.outlier_stream import KnownWithOutliers
from ood_seg.datasets.outlier_mix import OutlierMix
from ood_seg.datasets.seeded_samples import SeededSamples
from ood_seg.detectors import Fitter
from ood_seg.engine.known_batches import known_batches
from ood_seg.engine.test_sets import is_image_level, named_sets
from ood_seg.progress import AddTask, Task, progress_tasks

FIT, TRAIN = "fit", "train"
_PASTED_KEYS = ("pasted_dataloader", "train_dataloader")


@dataclass(frozen=True)
class Part:
    """Some images of a dataset."""

    name: str
    dataset: BaseDataset
    positions: Sequence[int]
    batch_size: int
    num_workers: int
    pasted: bool = False


class FitData:
    """Images to fit on. The datasets are built here, the images are read in `batches`.

    Args:
        cfg: the config.
        data: names: `fit`, the config's `fit_dataloader`; `train`, its training scenes; or test
            sets with class labels.
        num_images: of each of `data`; None: all.
        pasted: number of pasted scenes.
        seed: of the choice of images.

    Attributes:
        unreadable: why images were left out by this process, by dataset; filled by `batches`.

    Raises:
        ValueError: a name is unknown, or there are fewer images.
    """

    def __init__(
        self,
        cfg: Config,
        data: Sequence[str],
        *,
        num_images: int | None,
        pasted: int,
        seed: int,
    ) -> None:
        self.parts = [_known_part(cfg, name, num_images, seed) for name in dict.fromkeys(data)]
        if pasted:
            self.parts.append(_pasted_part(cfg, pasted, seed))
        self.unreadable: dict[str, list[str]] = {part.name: [] for part in self.parts}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the first dataset."""
        return tuple(self.parts[0].dataset.metainfo.get("classes") or ())

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by dataset."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.name] = counts.get(part.name, 0) + len(part.positions)
        return counts

    def left_out(self) -> dict[str, list[str]]:
        """Why images were left out by any process, by dataset; only datasets with such images."""
        shares = all_gather_object(self.unreadable)
        reasons = {name: [text for one in shares for text in one[name]] for name in self.unreadable}
        return {name: texts for name, texts in reasons.items() if texts}

    @contextlib.contextmanager
    def batches(
        self, model: BaseModel, fitters: Mapping[str, Fitter]
    ) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
        """Images and labels of this process's share, with progress bars while it is open.

        Args:
            model: prepares the images.
            fitters: by method; those with an attribute `on_step` get bars of their own.
        """
        with progress_tasks(enabled=is_main_process()) as add:
            total = sum(self.counts.values())
            task = add("fit", total)

            def advance(images: int) -> None:
                done = task.done + images * get_world_size()
                task.update(min(done, total))  # the last round may be short

            for name, fitter in fitters.items():
                if hasattr(fitter, "on_step"):
                    fitter.on_step = _step_tasks(add, name)
            yield self._all_batches(model, advance)

    def _all_batches(
        self, model: BaseModel, on_batch: Callable[[int], object]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        first = 0
        for part in self.parts:
            yield from known_batches(
                model,
                part.dataset,
                part.positions,
                first=first,
                batch_size=part.batch_size,
                num_workers=part.num_workers,
                on_batch=on_batch,
                only_outliers=part.pasted,
                unreadable=self.unreadable[part.name],
            )
            first += len(part.positions)


def _step_tasks(add: AddTask, method: str) -> Callable[[str, int, int], None]:
    """A callback for `on_step` that shows each layer, from its first step on."""
    tasks: dict[str, Task] = {}

    def on_step(layer: str, step: int, steps: int) -> None:
        if layer not in tasks:
            tasks[layer] = add(f"{method}, {layer}", steps, "steps")
        tasks[layer].update(step)

    return on_step


def _known_part(cfg: Config, name: str, num_images: int | None, seed: int) -> Part:
    loader = _loader(cfg, name)
    dataset = DATASETS.build(loader["dataset"])
    if name == TRAIN:
        if num_images is None:
            num_images = len(dataset)
        return _part(name, loader, stream(dataset, seed, pasted=False), range(num_images))
    try:
        positions = chosen_positions(len(dataset), num_images, seed)
    except ValueError as error:
        raise ValueError(f"--num-images: {name}: {error}") from error
    return _part(name, loader, dataset, positions)


def _pasted_part(cfg: Config, number: int, seed: int) -> Part:
    key = next((key for key in _PASTED_KEYS if cfg.get(key)), None)
    if number < 0 or key is None:
        raise ValueError(
            f"--pasted {number}: a method learns from outlier pixels, for which the config needs a "
            "pasted_dataloader (or train_dataloader) whose pipeline pastes objects"
        )
    dataset = stream(DATASETS.build(cfg[key]["dataset"]), seed, pasted=True)
    name = "auxiliary outliers" if is_image_level(cfg) else "pasted scenes"
    return _part(name, cfg[key], dataset, range(number), pasted=True)


def _part(
    name: str, loader: dict, dataset: Dataset, positions: Sequence[int], *, pasted: bool = False
) -> Part:
    batch_size, num_workers = loader.get("batch_size", 1), loader.get("num_workers", 0)
    return Part(name, dataset, positions, batch_size, num_workers, pasted)


def _loader(cfg: Config, name: str) -> dict:
    """The loader of `fit`, `train`, or of a test set."""
    loaders = {key: cfg.get(f"{key}_dataloader") for key in (FIT, TRAIN)}
    names = [key for key, loader in loaders.items() if loader]
    sets = named_sets(cfg) if cfg.get("test_dataloader") else {}
    known = ", ".join([*names, *sets])
    if name in names:
        return loaders[name]
    if name in loaders:
        raise ValueError(
            f"--data {name}: the config has no {name}_dataloader; give it one with labelled "
            "known images, prepared as in use (docs/finetuning.md shows how), or "
            f"give --data another name: {known}"
        )
    if name not in sets:
        raise ValueError(f"--data: there is no {name!r}; there are {known}")
    return sets[name][0]


def chosen_positions(length: int, num_images: int | None, seed: int) -> list[int]:
    """Return the positions of the images to read, ascending; a seeded choice of `num_images`.

    Args:
        length: of the dataset.
        num_images: None: all.
        seed: of the choice.

    Raises:
        ValueError: more images are wanted than there are.
    """
    if num_images is None:
        return list(range(length))
    if not 0 < num_images <= length:
        raise ValueError(f"the number of images must be 1 to {length}, got {num_images}")
    return sorted(np.random.default_rng(seed).permutation(length)[:num_images].tolist())


def stream(dataset: Dataset, seed: int, *, pasted: bool) -> Dataset:
    """Return training scenes as a seeded stream of any length.

    Args:
        dataset: of a training loader.
        seed: of scenes and augmentations.
        pasted: of an `OutlierMix` the scenes with objects, else those without; of a
            `KnownWithOutliers` the outlier images, else the known ones.
    """
    dataset = dataset.dataset if isinstance(dataset, SeededSamples) else dataset
    if isinstance(dataset, OutlierMix):
        dataset = dataset.pasted if pasted else dataset.clean
    if isinstance(dataset, KnownWithOutliers):
        dataset = (dataset.outliers if pasted else dataset.known).dataset
    return SeededSamples(dataset, seed)
