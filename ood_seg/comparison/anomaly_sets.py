"""The test sets of a config that have anomaly masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, METRICS
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ood_seg.engine.test_sets import ignore_what_the_model_ignores, metrics_of, named_sets
from ood_seg.io.json_files import plain
from ood_seg.spelling import did_you_mean

_METRIC = "AnomalyMetric"


def anomaly_sets(
    cfg: Config, names: Sequence[str] | None = None, num_images: int | None = None
) -> list[AnomalySet]:
    """The test sets that have an anomaly metric.

    Args:
        cfg: the config.
        names: of the wanted sets; None or empty: all.
        num_images: only the first ones of each set; None: all.

    Raises:
        ValueError: a name is unknown or of a set without anomaly masks, or no set has them.
    """
    found = {}
    ignore_what_the_model_ignores(cfg)
    for name, (loader, evaluator) in named_sets(cfg).items():
        metric = [one for one in metrics_of(evaluator) if one["type"] == _METRIC]
        if metric:
            found[name] = (loader, metric[0])
    unknown = [name for name in names or () if name not in found]
    if unknown or not found:
        meant = did_you_mean(unknown[0], found) if unknown else ""
        raise ValueError(
            f"sets: no test set {', '.join(unknown)} with anomaly masks (an {_METRIC}) in the "
            f"config{meant}; available: {', '.join(found) or 'none'}"
        )
    return [AnomalySet(name, *found[name], num_images) for name in names or found]


class AnomalySet:
    """The images of a test set with their anomaly masks.

    Args:
        name: of the set.
        loader: config of its data loader.
        metric: config of its `AnomalyMetric`, which is used to read the masks.
        num_images: only the first ones; None: all.

    Attributes:
        config: of the dataset.
        dataset: the dataset.
        size: number of images.
    """

    def __init__(
        self,
        name: str,
        loader: Mapping[str, Any],
        metric: Mapping[str, Any],
        num_images: int | None = None,
    ) -> None:
        self.name = name
        self.config = loader["dataset"]
        self._workers = loader.get("num_workers", 0)
        self.dataset = DATASETS.build(self.config)
        # The other options of the metric do not affect the labels.
        space = {key: metric[key] for key in ("label_space", "ignore_index") if key in metric}
        self._metric = METRICS.build({"type": _METRIC, **space})
        self._metric.dataset_meta = self.dataset.metainfo
        self.size = len(self.dataset) if num_images is None else min(num_images, len(self.dataset))

    def image_paths(self) -> list[str]:
        """Path of each image."""
        return [self.dataset.get_data_info(index)["img_path"] for index in range(self.size)]

    def batches(self, start: int = 0) -> DataLoader:
        """The collated samples from `start` on, one image each."""
        return DataLoader(
            Subset(self.dataset, range(start, self.size)),
            num_workers=self._workers,
            collate_fn=pseudo_collate,
        )

    def labels(self, batch: Mapping[str, Any]) -> Tensor:
        """Labels `(H, W)` of a batch of one image: 0 known, 1 anomaly, 255 ignored."""
        return self._metric.evaluation_labels(batch["data_samples"][0].gt_sem_seg.data[0])

    def identity(self) -> dict[str, Any]:
        """The configuration of the data, as JSON values."""
        config = plain({key: value for key, value in self.config.items() if key != "_scope_"})
        return {"data": config, "images": len(self.dataset)}
