"""Loss by reduced precision: AUROC, AP, FPR95 and mIoU of exported models, as Markdown.

    python benchmarks/precision.py model.onnx model-fp16.onnx model-int8.onnx
        [--anomaly-sets road_anomaly fs_static] [--known-sets cityscapes_val bdd_val kitti]
        [--limit 20]

The sets are those of a shipped config's `test_dataloader`; images are predicted and evaluated at
their own size. The other models are compared with the first: the last columns are the share of the
pixels of all images with the same label, and the mean absolute difference of the scores. Images
that an 8-bit model was calibrated on must not be among them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np


def main() -> None:
    """Measure every model on every set and print one table."""
    args = parse_arguments()
    from ood_seg.startup import prepare

    prepare()
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from ood_seg.config_files import resolve_config
    from ood_seg.deploy import OnnxAnomalySegmentor
    from ood_seg.reports.tables import Table

    cfg = Config.fromfile(resolve_config(args.config))
    init_default_scope("mmseg")
    models = {path: OnnxAnomalySegmentor(path, threads=args.threads) for path in args.models}
    rows: dict[str, list[str]] = {path: [] for path in args.models}
    titles = []
    closeness = Closeness(args.models)
    for name in args.anomaly_sets:
        found = anomaly_metrics(models, samples(cfg, name, args.limit), closeness)
        titles.append(f"{name}: AUROC / AP / FPR95")
        for path, values in found.items():
            figures = (f"{100 * values[key]:.2f}" for key in ("auroc", "ap", "fpr95"))
            rows[path].append(" / ".join(figures))
    for name in args.known_sets:
        titles.append(f"{name}: mIoU")
        for path, value in mean_iou(models, samples(cfg, name, args.limit), closeness).items():
            rows[path].append(f"{100 * value:.2f}")
    titles += ["equal labels", "score difference"]
    for path, cells in rows.items():
        cells += closeness.cells(path)
    table = Table("", ("model", *titles), [(path, *cells) for path, cells in rows.items()])
    print(table.to_markdown(), end="")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--config", default="energy_fcn-erfnet_cityscapes", help="with the sets")
    parser.add_argument("--anomaly-sets", nargs="*", default=["road_anomaly", "fs_static"])
    known = ["cityscapes_val", "bdd_val", "kitti"]
    parser.add_argument("--known-sets", nargs="*", default=known)
    parser.add_argument("--limit", type=int, help="images of each set; by default all")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def samples(cfg, name: str, limit: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and label maps of a set of the config, at their own size."""
    from mmseg.registry import DATASETS

    settings = cfg.test_dataloader[name].dataset.copy()
    left_out = ("Resize", "PackSegInputs")
    settings["pipeline"] = [step for step in settings.pipeline if step.type not in left_out]
    dataset = DATASETS.build(settings)
    for index in range(len(dataset))[:limit]:
        sample = dataset[index]
        yield sample["img"], sample["gt_seg_map"]


class Closeness:
    """Agreement of labels and scores with those of the first model."""

    def __init__(self, names: list[str]) -> None:
        self._same, self._moved = (dict.fromkeys(names, 0.0) for _ in range(2))
        self._pixels = 0

    def predict(self, models: dict, image: np.ndarray) -> dict:
        """Predictions of an image by all models, counted."""
        found = {name: model.predict([image])[0] for name, model in models.items()}
        first = next(iter(found.values()))
        self._pixels += first.labels.size
        for name, one in found.items():
            self._same[name] += np.count_nonzero(one.labels == first.labels)
            self._moved[name] += np.abs(one.anomaly - first.anomaly).sum(dtype=np.float64)
        return found

    def cells(self, name: str) -> list[str]:
        """Share of equal labels and mean difference of scores."""
        return [
            f"{100 * self._same[name] / self._pixels:.2f} %",
            f"{self._moved[name] / self._pixels:.3f}",
        ]


def anomaly_metrics(
    models: dict, pairs: Iterator, closeness: Closeness
) -> dict[str, dict[str, float]]:
    """Pooled pixel metrics of each model."""
    import torch

    from ood_seg.metrics import PixelMetrics

    metrics = {path: PixelMetrics(mode="streaming") for path in models}
    for image, labels in pairs:
        truth = torch.from_numpy(labels.astype(np.int64))
        for path, found in closeness.predict(models, image).items():
            metrics[path].update(torch.from_numpy(found.anomaly), truth)
    return {path: metric.compute() for path, metric in metrics.items()}


def mean_iou(models: dict, pairs: Iterator, closeness: Closeness) -> dict[str, float]:
    """Intersection over union, averaged over the classes present."""
    count = len(next(iter(models.values())).palette.classes)
    pixels = {path: np.zeros((count, count), np.int64) for path in models}
    for image, labels in pairs:
        valid = labels < count
        truth = labels[valid] * np.int64(count)
        for path, found in closeness.predict(models, image).items():
            joint = np.bincount(truth + found.labels[valid], minlength=count**2)
            pixels[path] += joint.reshape(count, count)
    ious = {}
    for path, matrix in pixels.items():
        hit, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        ious[path] = float((hit[union > 0] / union[union > 0]).mean())
    return ious


if __name__ == "__main__":
    main()
