"""Prepared images and labels of a dataset for a pass over it, dealt out to the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ood_seg.classification.classifier import image_labels
from ood_seg.datasets.readable_samples import ReadableSamples, collated_with_reasons
from ood_seg.datasets.seeded_samples import preserved_random_state
from ood_seg.detectors.reservoir import labels_at
from ood_seg.labels import IGNORE, OUTLIER, hide_ignored


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
    unreadable: list[str] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield prepared images and labels of this process's share of a dataset.

    Images are dealt out to the processes in turn, and none is repeated to fill them up. Every
    global random state stays as it was.

    Args:
        model: prepares the images as for a test.
        dataset: with labels `gt_sem_seg`, resampled to the pixels of the network's input; or with
            one label `gt_label` for each image.
        positions: of the images, over all processes.
        first: number of images of the pass before these, so that the dealing continues from there.
        batch_size: images that are loaded at once; those of one size go through the network
            together.
        num_workers: processes that load.
        on_batch: called with the number of images after each batch.
        only_outliers: keep the pasted pixels, and hide all others.
        unreadable: gets the reasons why images were left out; None: a bad file is an error.

    Yields:
        Images `(N, 3, H, W)` and labels `(N, H, W)` or `(N,)`; padding and what the model ignores
        is `IGNORE`.

    Raises:
        ValueError: no image of the share can be read.
    """
    share = positions[(get_rank() - first) % get_world_size() :: get_world_size()]
    samples: Dataset = Subset(dataset, share)
    loader = DataLoader(
        samples if unreadable is None else ReadableSamples(samples),
        batch_size,
        num_workers=num_workers,
        collate_fn=collated_with_reasons,
    )
    left_out: list[str] = [] if unreadable is None else unreadable
    before = len(left_out)
    with preserved_random_state():  # a loader draws its base seed
        for size, batch in _of_one_size(_readable(loader, left_out, on_batch)):
            data = model.data_preprocessor(batch, False)
            images, stacked = data["inputs"], _labels(data, size).to(data["inputs"].device)
            stacked = hide_ignored(stacked, getattr(model, "ignore_index", IGNORE))
            if only_outliers:
                stacked = torch.where(stacked == OUTLIER, stacked, IGNORE)
            yield images, stacked
            on_batch(len(images))
    if share and len(left_out) - before == len(share):
        raise ValueError(f"none of {len(share)} images can be read; the first: {left_out[before]}")


def _readable(
    loader: Iterable[tuple[dict, list[str]]],
    left_out: list[str],
    on_batch: Callable[[int], object],
) -> Iterator[dict]:
    """The batches of `collated_with_reasons`; the reasons go to `left_out`."""
    for batch, reasons in loader:
        left_out += reasons
        yield batch
        if reasons:
            on_batch(len(reasons))


def _of_one_size(batches: Iterable[dict]) -> Iterator[tuple[tuple[int, int], dict]]:
    """Batches split by the size of their images: a test's preprocessor pads only equal sizes."""
    for batch in batches:
        parts: dict[tuple[int, int], dict[str, list]] = {}
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            size = tuple(image.shape[-2:])
            part = parts.setdefault(size, {"inputs": [], "data_samples": []})
            part["inputs"].append(image)
            part["data_samples"].append(sample)
        yield from parts.items()


def _labels(data: dict, size: tuple[int, int]) -> torch.Tensor:
    """Labels `(N, H, W)` of prepared images, or `(N,)` of image-level samples."""
    samples, padded = data["data_samples"], data["inputs"].shape[-2:]
    if "gt_label" in samples[0]:
        return image_labels(samples)
    return torch.stack([_fitted(one.gt_sem_seg.data, size, padded) for one in samples])


def _fitted(labels: Tensor, size: tuple[int, int], padded: torch.Size) -> Tensor:
    """Labels at their image's size, padded as the image was, at the right and at the bottom."""
    if labels.ndim != 3 or len(labels) != 1:
        raise ValueError(
            f"gt_sem_seg must have shape (1, H, W), got {tuple(labels.shape)}: label images need "
            "one channel of class indices; LoadCheckedLabels in place of LoadAnnotations names "
            "those that have more"
        )
    labels = labels_at(labels, size)[0]
    return F.pad(labels, (0, padded[1] - size[1], 0, padded[0] - size[0]), value=IGNORE)
