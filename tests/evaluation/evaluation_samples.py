"""Data samples as a segmentor's `predict` returns them, drawn at random, and a fixed metric set."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

CLASSES = ("road", "sky", "car")


def data_sample(scores, labels, prediction=None, path: str | None = None) -> SegDataSample:
    """One sample with maps `(1, H, W)`; `path` becomes `img_path`."""
    sample = SegDataSample(metainfo={} if path is None else {"img_path": path})
    sample.pred_anomaly = PixelData(data=torch.as_tensor(scores)[None])
    sample.gt_sem_seg = PixelData(data=torch.as_tensor(labels)[None])
    if prediction is not None:
        sample.pred_sem_seg = PixelData(data=torch.as_tensor(prediction)[None])
    return sample


def random_samples(count: int, *, shape=(6, 8), seed: int = 0) -> list[SegDataSample]:
    """Samples with training labels: 0, 1, 2 known, 254 outliers, 255 void; sizes differ."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(count):
        size = (shape[0] + index, shape[1])
        labels = rng.choice([0, 1, 2, 254, 255], size, p=[0.3, 0.2, 0.2, 0.2, 0.1])
        prediction = np.where(rng.random(size) < 0.6, labels % 254, rng.integers(0, 3, size))
        prediction = np.minimum(prediction, 2)
        scores = rng.normal(size=size).round(1) + (labels == 254) + 0.5 * index
        samples.append(
            data_sample(scores.astype(np.float32), labels, prediction, f"frames/{index}.png")
        )
    return samples


def evaluation_labels(labels: torch.Tensor) -> torch.Tensor:
    """Training labels as 0 known, 1 anomaly, 255 ignored."""
    mapped = torch.zeros_like(labels)
    mapped[labels == 254] = 1
    mapped[labels == 255] = 255
    return mapped
