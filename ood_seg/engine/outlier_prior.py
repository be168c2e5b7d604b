"""Measuring the outlier prior: which classes the pre-trained model sees in pasted objects."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmseg.models.utils import resize
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from ood_seg.datasets.seeded_samples import SeededSamples, preserved_random_state
from ood_seg.labels import OUTLIER


@torch.no_grad()
def count_outlier_predictions(
    model: nn.Module,
    dataset: Dataset,
    *,
    num_images: int,
    seed: int = 0,
    batch_size: int = 1,
    num_workers: int = 0,
) -> Tensor:
    """Histogram of the model's arg-max over the outlier pixels of pasted scenes.

    Runs in evaluation mode, over all ranks, and leaves the model's mode and every global random
    state as they were. Source: Choi et al., CVPR 2023, algorithm 1.

    Args:
        model: an `OODEncoderDecoder` with its pre-trained weights.
        dataset: training data set whose pipeline pastes outliers.
        num_images: number of scenes over all ranks.
        seed: fixes scenes and augmentations.
        batch_size: scenes a forward pass; their crops must have one size.
        num_workers: loader processes.

    Returns:
        `(C,)` int64 counts, equal on every rank.

    Raises:
        ValueError: if no pixel of any scene is an outlier.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    counts: Tensor | None = None
    # Positions of a seeded stream: whatever the number of workers and ranks, the same scenes.
    dataset = dataset.dataset if isinstance(dataset, SeededSamples) else dataset
    samples = Subset(SeededSamples(dataset, seed), range(get_rank(), num_images, get_world_size()))
    loader = DataLoader(samples, batch_size, num_workers=num_workers, collate_fn=pseudo_collate)
    with preserved_random_state():  # a loader draws its base seed
        for batch in track(loader, "Outlier prior", disable=get_rank() != 0):
            counts = _count_batch(model, batch, counts)
    model.train(was_training)
    if counts is None:  # more ranks than images
        counts = torch.zeros(_num_classes(model), dtype=torch.int64, device=device)
    all_reduce(counts)
    if counts.sum() == 0:
        raise ValueError(
            f"no outlier pixel (label {OUTLIER}) in {num_images} training scenes, so the outlier "
            "prior cannot be measured; add PasteOutliers to the training pipeline, raise its "
            "probability, or give the loss a prior"
        )
    return counts.cpu()


def _num_classes(model: nn.Module) -> int:
    return model.energy_head.num_classes or model.out_channels


def _count_batch(model: nn.Module, batch: dict, counts: Tensor | None) -> Tensor:
    """Add one batch to the histogram."""
    data = model.data_preprocessor(batch, True)
    labels = torch.stack([sample.gt_sem_seg.data for sample in data["data_samples"]]).squeeze(1)
    logits = model.energy_head.class_logits(model(data["inputs"], mode="tensor"))
    logits = resize(
        logits, size=labels.shape[-2:], mode="bilinear", align_corners=model.align_corners
    )
    predictions = logits.argmax(dim=1)[labels == OUTLIER]
    found = torch.bincount(predictions, minlength=logits.shape[1])
    return found if counts is None else counts + found


def write_prior(path: Path, counts: Tensor, *, classes: tuple[str, ...], **origin) -> None:
    """Write a prior as JSON: `prior`, `counts`, `classes` and whatever says where it comes from.

    The file appears whole or not at all.
    """
    prior = (counts.double() / counts.sum()).tolist()
    content = {"prior": prior, "counts": counts.tolist(), "classes": list(classes), **origin}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)
