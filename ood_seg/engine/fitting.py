"""One pass over known data for the statistics of all fitted scores.

data set -> known_batches -> (images, labels) -> fit_statistics -> Statistics by method
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ood_seg.datasets.outlier_mix import OutlierMix
from ood_seg.datasets.seeded_samples import SeededSamples, preserved_random_state
from ood_seg.detectors import Fitter, Network, Statistics, layers_of
from ood_seg.detectors.reservoir import labels_at
from ood_seg.labels import IGNORE, OUTLIER


@dataclass
class Fit:
    """What a pass over the data gave.

    Attributes:
        statistics: by method.
        failures: why a method has none, by method.
        pixels: number of pixels of each class, by label.
        num_outliers: pasted pixels.
        num_ignored: pixels without a label.
    """

    statistics: dict[str, Statistics] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    pixels: list[int] = field(default_factory=list)
    num_outliers: int = 0
    num_ignored: int = 0

    def absent_classes(self, names: Iterable[str]) -> list[str]:
        """Classes without a pixel."""
        return [name for name, count in zip(names, self.pixels, strict=True) if not count]


@torch.no_grad()
def fit_statistics(
    network: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    fitters: Mapping[str, Fitter],
    *,
    num_classes: int,
) -> Fit:
    """Show known data to the fitters of all methods, one forward pass a batch.

    Under torch.distributed each process shows its share, and all get the same result. A method
    for which there was too little data is told, and loses nothing to the others.

    Args:
        network: in evaluation mode.
        batches: prepared images `(N, 3, H, W)` and labels `(N, H, W)` at their size: 0..C-1, 254
            outlier, 255 ignored; on the network's device.
        fitters: by method.
        num_classes: C.

    Raises:
        ValueError: no pixel has a known class, or a label has another value.
    """
    layers = layers_of(fitters)
    device = next(network.module.parameters()).device
    counts = torch.zeros(num_classes + 2, dtype=torch.int64, device=device)
    for images, labels in batches:
        counts += _label_counts(labels, num_classes)
        outputs = network(images, layers)
        for fitter in fitters.values():
            fitter.update(outputs, labels, network)
    all_reduce(counts)
    *pixels, outliers, ignored = counts.tolist()
    if not any(pixels):
        raise ValueError("the data to fit on hold no pixel of a known class")
    fit = Fit(pixels=pixels, num_outliers=outliers, num_ignored=ignored)
    for name, fitter in fitters.items():
        fitter.reduce()
        try:
            fit.statistics[name] = fitter.result()
        except ValueError as error:
            fit.failures[name] = str(error)
    return fit


def _label_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class, of outliers and of ignored ones, `(C + 2,)`."""
    values = torch.bincount(labels.flatten().long(), minlength=256)
    rest = values.clone()
    rest[:num_classes] = 0
    rest[[OUTLIER, IGNORE]] = 0
    if rest.any():
        found = ", ".join(map(str, rest.nonzero().flatten().tolist()))
        raise ValueError(
            f"labels must be 0..{num_classes - 1}, {OUTLIER} (outlier) or {IGNORE} (ignored), got "
            f"also {found}; the data set has other classes than the model"
        )
    return torch.cat([values[:num_classes], values[[OUTLIER, IGNORE]]])


def chosen_positions(length: int, num_images: int | None, seed: int) -> list[int]:
    """Positions of the images to look at, rising; a seeded choice where not all are wanted.

    Raises:
        ValueError: more images are wanted than there are.
    """
    if num_images is None:
        return list(range(length))
    if not 0 < num_images <= length:
        raise ValueError(f"the number of images must be 1 to {length}, got {num_images}")
    return sorted(np.random.default_rng(seed).permutation(length)[:num_images].tolist())


def known_batches(
    model: BaseModel,
    dataset: Dataset,
    positions: Sequence[int],
    *,
    first: int = 0,
    batch_size: int = 1,
    num_workers: int = 0,
    on_batch: Callable[[int], object] = lambda images: None,
    only_outliers: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Prepared images and labels of this process's share of a data set.

    Images are dealt out to the processes in turn, and none is repeated to fill them up. Every
    global random state stays as it was.

    Args:
        model: prepares the images as for a test.
        dataset: with labels `gt_sem_seg`, taken at the pixels of the image that the network sees.
        positions: of the images, over all processes.
        first: number of images of the pass before these, so that dealing goes on from there.
        batch_size: images that are loaded at once; those of one size go through the network
            together.
        num_workers: processes that load.
        on_batch: told the number of images after each batch.
        only_outliers: keep the pasted pixels, and hide all others.

    Yields:
        Images `(N, 3, H, W)` and labels `(N, H, W)`; padding is ignored.
    """
    share = positions[(get_rank() - first) % get_world_size() :: get_world_size()]
    loader = DataLoader(
        Subset(dataset, share), batch_size, num_workers=num_workers, collate_fn=pseudo_collate
    )
    with preserved_random_state():  # a loader draws its base seed
        for size, batch in _of_one_size(loader):
            data = model.data_preprocessor(batch, False)
            images = data["inputs"]
            labels = torch.stack(
                [
                    _fitted(sample.gt_sem_seg.data, size, images.shape[-2:])
                    for sample in data["data_samples"]
                ]
            ).to(images.device)
            if only_outliers:
                labels = torch.where(labels == OUTLIER, labels, IGNORE)
            yield images, labels
            on_batch(len(images))


def _of_one_size(batches: Iterable[dict]) -> Iterator[tuple[tuple[int, int], dict]]:
    """Batches split by the size of their images: a test's preprocessor pads them only as one."""
    for batch in batches:
        parts: dict[tuple[int, int], dict[str, list]] = {}
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            size = tuple(image.shape[-2:])
            part = parts.setdefault(size, {"inputs": [], "data_samples": []})
            part["inputs"].append(image)
            part["data_samples"].append(sample)
        yield from parts.items()


def _fitted(labels: Tensor, size: tuple[int, int], padded: torch.Size) -> Tensor:
    """Labels at their image's size, padded as the image was, at the right and at the bottom."""
    if labels.ndim != 3 or len(labels) != 1:
        raise ValueError(
            f"gt_sem_seg must have shape (1, H, W), got {tuple(labels.shape)}: label pictures need "
            "one channel of class indices; LoadCheckedLabels in place of LoadAnnotations names "
            "those that have more"
        )
    labels = labels_at(labels, size)[0]
    return F.pad(labels, (0, padded[1] - size[1], 0, padded[0] - size[0]), value=IGNORE)


def stream(dataset: Dataset, seed: int, *, pasted: bool) -> Dataset:
    """Training scenes as a seeded stream of any length.

    Args:
        dataset: of a training loader.
        seed: fixes scenes and augmentations.
        pasted: of an `OutlierMix` the scenes with objects, else those without.
    """
    dataset = dataset.dataset if isinstance(dataset, SeededSamples) else dataset
    if isinstance(dataset, OutlierMix):
        dataset = dataset.pasted if pasted else dataset.clean
    return SeededSamples(dataset, seed)
