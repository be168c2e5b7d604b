"""Predictions of a pre-trained model on pasted scenes, and the outlier prior measured on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmseg.models.utils import resize
from mmseg.registry import DATASETS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ood_seg.classification.classifier import image_labels
from ood_seg.datasets.outlier_mix import OutlierMix
from ood_seg.datasets.seeded_samples import SeededSamples, preserved_random_state
from ood_seg.datasets.setup.config_datasets import training_data
from ood_seg.labels import OUTLIER, hide_ignored, require_distinct_labels
from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder
from ood_seg.outlier_priors import OutlierPrior
from ood_seg.progress import tracked


@torch.no_grad()
def visit_pasted_scenes(
    model: OODEncoderDecoder,
    dataset: Dataset,
    visit: Callable[[Tensor, Tensor], None],
    *,
    num_images: int,
    seed: int = 0,
    batch_size: int = 1,
    num_workers: int = 0,
    title: str = "Pasted scenes",
) -> None:
    """Run the model in evaluation mode on this rank's share of `num_images` training scenes.

    The model's mode and every global random state are restored. The scenes are positions of a
    seeded stream, the same for any number of workers and ranks.

    Args:
        model: an `OODEncoderDecoder` with its pre-trained weights.
        dataset: training dataset whose pipeline pastes outliers; of an `OutlierMix` the pasted
            scenes. For an image-level model any dataset with outlier images.
        visit: called with logits `(N, C, H, W)` at the labels' size and labels `(N, H, W)`, in
            which what the model ignores is `IGNORE`; or with `(N, C)` and `(N,)`.
        num_images: number of scenes over all ranks.
        seed: fixes scenes and augmentations.
        batch_size: scenes per forward pass; their crops must have one size.
        num_workers: loader processes.
        title: of the progress bar.

    Raises:
        ValueError: more than 254 classes.
    """
    require_distinct_labels(model.num_classes)
    was_training = model.training
    model.eval()
    dataset = dataset.dataset if isinstance(dataset, SeededSamples) else dataset
    dataset = dataset.pasted if isinstance(dataset, OutlierMix) else dataset
    samples = Subset(SeededSamples(dataset, seed), range(get_rank(), num_images, get_world_size()))
    loader = DataLoader(samples, batch_size, num_workers=num_workers, collate_fn=pseudo_collate)
    try:
        with preserved_random_state():  # a loader draws its base seed
            shown = {"size": _num_images, "unit": "scenes", "enabled": get_rank() == 0}
            for batch in tracked(loader, title, len(samples), **shown):
                data = model.data_preprocessor(batch, True)
                logits = model.energy_head.class_logits(model(data["inputs"], mode="tensor"))
                if logits.ndim == 2:
                    visit(logits, image_labels(data["data_samples"]).to(logits.device))
                    continue
                labels = torch.stack([sample.gt_sem_seg.data for sample in data["data_samples"]])
                labels = hide_ignored(labels.squeeze(1), model.ignore_index)
                size, align = labels.shape[-2:], model.align_corners
                visit(resize(logits, size=size, mode="bilinear", align_corners=align), labels)
    finally:
        model.train(was_training)


def _num_images(batch: dict) -> int:
    return len(batch["inputs"])


def count_outlier_predictions(
    model: OODEncoderDecoder,
    dataset: Dataset,
    *,
    num_images: int,
    seed: int = 0,
    batch_size: int = 1,
    num_workers: int = 0,
) -> Tensor:
    """Return the histogram of predicted classes over the outlier pixels of pasted scenes.

    Source: Choi et al., CVPR 2023, algorithm 1. Arguments: see `visit_pasted_scenes`.

    Returns:
        `(C,)` int64 counts summed over all ranks, equal on every rank.

    Raises:
        ValueError: if no pixel of any scene is an outlier.
    """
    num_classes = model.energy_head.num_classes or model.out_channels
    device = next(model.parameters()).device
    counts = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def visit(logits: Tensor, labels: Tensor) -> None:
        predictions = logits.argmax(dim=1)[labels == OUTLIER]
        counts.add_(torch.bincount(predictions, minlength=num_classes))

    visit_pasted_scenes(
        model,
        dataset,
        visit,
        num_images=num_images,
        seed=seed,
        batch_size=batch_size,
        num_workers=num_workers,
        title="Outlier prior",
    )
    all_reduce(counts)
    if counts.sum() == 0:
        raise ValueError(
            f"no outlier pixel (label {OUTLIER}) in {num_images} training scenes, so the outlier "
            "prior cannot be measured; add PasteOutliers to the training pipeline, raise its "
            "probability, or give the loss a prior"
        )
    return counts.cpu()


def dataset_classes(loader: DataLoader) -> tuple[str, ...]:
    """Return the class names of a loader's dataset."""
    dataset: BaseDataset = loader.dataset
    return tuple(dataset.metainfo["classes"])


def measure_outlier_prior(
    model: OODEncoderDecoder, loader: DataLoader, cfg: Config, *, num_images: int, seed: int = 0
) -> OutlierPrior:
    """Return the prior of a model on its training data, with its provenance.

    Args:
        model: an `OODEncoderDecoder` with its pre-trained weights.
        loader: of the training data; its dataset, batch size and workers are used.
        cfg: the config of both; where it has a `prior_dataset`, the outliers are those of it.
        num_images: see `visit_pasted_scenes`.
        seed: see there.

    Raises:
        ValueError: see `count_outlier_predictions`.
    """
    dataset = loader.dataset
    if cfg.get("prior_dataset"):  # without the augmentation of the training
        dataset = DATASETS.build(cfg.prior_dataset)
    counts = count_outlier_predictions(
        model,
        dataset,
        num_images=num_images,
        seed=seed,
        batch_size=loader.batch_size or 1,
        num_workers=loader.num_workers,
    )
    return OutlierPrior.from_counts(
        counts.tolist(),
        dataset_classes(loader),
        model=str(cfg.get("load_from")),
        config=str(cfg.filename),
        data=training_data(cfg),
        num_images=num_images,
        seed=seed,
    )
