"""Images to calibrate a model on: a dataset of its config, or a folder, with pasted objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, METRICS, TRANSFORMS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from ood_seg.apis.pipelines import split_test_pipeline
from ood_seg.datasets.listing import files_by_stem, pair_by_stem, require_no_problems
from ood_seg.datasets.transforms.loading import LoadCheckedImage, LoadCheckedLabels
from ood_seg.datasets.transforms.sizes import TakeSizeAsOriginal
from ood_seg.engine.test_sets import metrics_of, named_sets
from ood_seg.io.images import IMAGE_SUFFIXES
from ood_seg.labels import ANOMALY, OUTLIER
from ood_seg.spelling import did_you_mean

# Datasets of a config beside its test sets, in the order in which they are looked for.
OWN_SETS = ("calibration", "val")
# Longer side of a pasted object as a share of the image's short side: 30 to 220 of 512 pixels.
OBJECT_SIZES = (0.06, 0.43)
_SUFFIXES = tuple(sorted(IMAGE_SUFFIXES))
_METRIC = "AnomalyMetric"
_TRAINING = {"type": _METRIC, "label_space": "training"}

Sample = tuple[Mapping[str, Any], Tensor]


class Images(Protocol):
    """Images with known pixels.

    Attributes:
        name: of the dataset.
        notes: on its choice.
    """

    name: str
    notes: Sequence[str]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]:
        """Collated samples of one image each, and labels `(H, W)`: 0 known, 1 anomaly, 255."""


class SetImages:
    """The images of a dataset of a config.

    Args:
        name: of the dataset.
        loader: config of its data loader.
        evaluator: config of its metrics; an `AnomalyMetric` among them states what labels mean and
            may name the dataset. Without one, labels are those of training.
        num_images: that many, spread evenly; None: all.

    Raises:
        FileNotFoundError, ValueError: the dataset is not there or not complete.
    """

    def __init__(
        self, name: str, loader: Mapping[str, Any], evaluator: Any, num_images: int | None = None
    ) -> None:
        metrics = [] if evaluator is None else list(metrics_of(evaluator))
        metric = next((one for one in metrics if one["type"] == _METRIC), _TRAINING)
        kept = ("label_space", "ignore_index", "dataset_name")
        dataset = DATASETS.build(loader["dataset"])
        self._metric = METRICS.build(
            {"type": _METRIC, **{key: metric[key] for key in kept if key in metric}}
        )
        self._metric.dataset_meta = dataset.metainfo
        self.name = self._metric.dataset_name or name
        self.notes: list[str] = []
        self._samples = Subset(dataset, spread(len(dataset), num_images))
        self._workers = loader.get("num_workers", 0)

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        loader = DataLoader(self._samples, num_workers=self._workers, collate_fn=pseudo_collate)
        for batch in loader:
            labels = batch["data_samples"][0].gt_sem_seg.data[0]
            yield batch, self._metric.evaluation_labels(labels)


class FolderImages:
    """The images of a folder, all known or with label images.

    Images go through the test pipeline of the config. With pasted objects, scores are those at the
    size of the network's input, where the objects are pasted; else those at each image's own size.

    Args:
        cfg: of the model.
        images: folder, searched with its subfolders.
        labels: folder of label images (.png) of the same stems; None: every pixel is known.
        label_map: value in a label image -> 0 known, 1 anomaly, 255 ignored.
        objects: folder of cut-outs (PNG or WebP with alpha) to paste; None: none.
        num_images: that many, spread evenly; None: all.
        seed: of the pasted objects.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: a folder without images, or files without a partner.
    """

    def __init__(
        self,
        cfg: Config,
        images: Path,
        labels: Path | None = None,
        *,
        label_map: Mapping[int, int],
        objects: Path | None = None,
        num_images: int | None = None,
        seed: int = 0,
    ) -> None:
        init_default_scope(cfg.get("default_scope") or "mmseg")
        pairs = _paired(images, labels)
        chosen = [pairs[index] for index in spread(len(pairs), num_images)]
        pasted = "" if objects is None else f" + {objects.resolve().name}"
        self.name, self.notes = f"{images.resolve().name}{pasted}", list[str]()
        self._samples = _Scenes(
            chosen, _steps(cfg, labels is not None, objects, seed), dict(label_map)
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self)):
            batch = pseudo_collate([self._samples[index]])
            labels = batch["data_samples"][0].gt_sem_seg.data[0].clone()
            labels[labels == OUTLIER] = ANOMALY
            yield batch, labels


def config_images(cfg: Config, name: str | None = None, num_images: int | None = None) -> SetImages:
    """The images of a dataset of a config.

    Args:
        cfg: the config.
        name: `calibration` or `val`, its `calibration_dataloader` or `val_dataloader`; or one of
            its test sets. None: the first of these that is there; of the test sets only those
            without anomalies are looked for.
        num_images: that many, spread evenly; None: all.

    Raises:
        FileNotFoundError, ValueError: no such dataset, or its files are not there.
    """
    init_default_scope(cfg.get("default_scope") or "mmseg")
    known = {
        own: (cfg[f"{own}_dataloader"], cfg.get(f"{own}_evaluator"))
        for own in OWN_SETS
        if cfg.get(f"{own}_dataloader")
    }
    tests = named_sets(cfg) if cfg.get("test_dataloader") else {}
    known = {**tests, **known}
    if name is not None:
        if name not in known:
            raise ValueError(
                f"no dataset {name!r} in the config{did_you_mean(name, known)}; it has "
                f"{', '.join(known) or 'none'}"
            )
        return SetImages(name, *known[name], num_images)
    without = [one for one in tests if not _has_anomalies(tests[one][1])]
    candidates = [one for one in [*OWN_SETS, *without] if one in known]
    return _first_present({one: known[one] for one in candidates}, num_images)


def _first_present(candidates: Mapping[str, tuple[Any, Any]], num_images: int | None) -> SetImages:
    missing = []
    for name, (loader, evaluator) in candidates.items():
        try:
            images = SetImages(name, loader, evaluator, num_images)
        except (FileNotFoundError, ValueError) as error:
            missing.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        images.notes += [f"calibrated on {name}, since {why}" for why in missing]
        return images
    reasons = "; ".join(missing) or "the config has no validation set and no closed test set"
    raise ValueError(
        f"no images to calibrate on: {reasons}. Give a folder of known images, --images DIR, or a "
        "dataset of the config, --set NAME"
    )


def spread(total: int, wanted: int | None) -> list[int]:
    """Positions of `wanted` of `total` images, spread evenly.

    Raises:
        ValueError: fewer than one is wanted.
    """
    if wanted is None or wanted >= total:
        return list(range(total))
    if wanted < 1:
        raise ValueError(f"num_images must be positive, got {wanted}")
    return [index * total // wanted for index in range(wanted)]


def _has_anomalies(evaluator: Any) -> bool:
    return any(metric["type"] == _METRIC for metric in metrics_of(evaluator))


class _Scenes(Dataset):
    """Prepared images of files, with labels."""

    def __init__(
        self, pairs: Sequence[tuple[Path, Path | None]], steps: Iterable[Callable], label_map: dict
    ) -> None:
        self.pairs, self.steps, self.label_map = pairs, Compose(list(steps)), label_map

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, labels = self.pairs[index]
        sample: dict[str, Any] = {
            "img_path": str(image),
            "seg_map_path": None if labels is None else str(labels),
            "sample_idx": index,
            "seg_fields": [],
            "label_map": self.label_map,
            "label_map_is_complete": True,
            "reduce_zero_label": False,
        }
        return self.steps(sample)


def _paired(images: Path, labels: Path | None) -> list[tuple[Path, Path | None]]:
    """Images and their label images, in the order of their names."""
    for folder in (images, labels):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"folder {folder} does not exist")
    if labels is not None:
        listing = pair_by_stem(images, labels, image_suffixes=_SUFFIXES, recursive=True)
        require_no_problems(
            listing, name=str(images), remedy="Every image needs a label image of the same stem."
        )
        return list(listing.pairs)
    files = files_by_stem(images, _SUFFIXES, recursive=True)
    if not files:
        raise ValueError(f"{images} holds no images ({', '.join(_SUFFIXES)})")
    return [(path, None) for paths in files.values() for path in paths]


def _steps(cfg: Config, has_labels: bool, objects: Path | None, seed: int) -> list[Callable]:
    """The test pipeline with labels, and with pasted objects."""
    loader, rest = split_test_pipeline(cfg)
    loading = [LoadCheckedImage(to_float32=loader.to_float32)]
    labelling = [LoadCheckedLabels() if has_labels else _all_known]
    *prepare, pack = rest
    if objects is None:
        return [*loading, *prepare, *labelling, pack]
    paste = TRANSFORMS.build(
        {
            "type": "PasteOutliers",
            "source": {"type": "CutoutFolder", "img_dir": str(objects)},
            "count": (1, 2),
            "size_share": OBJECT_SIZES,
            "seed": seed,
        }
    )
    return [*loading, *labelling, *prepare, TakeSizeAsOriginal(), paste, pack]


def _all_known(sample: dict[str, Any]) -> dict[str, Any]:
    sample["gt_seg_map"] = np.zeros(sample["ori_shape"], np.uint8)
    sample["seg_fields"].append("gt_seg_map")
    return sample
