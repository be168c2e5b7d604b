"""What reduced precision costs: AUROC, AP, FPR95 and mIoU of exported models, as Markdown.

    python benchmarks/precision.py model.onnx model-fp16.onnx model-int8.onnx
        [--anomaly-sets road_anomaly] [--known-sets cityscapes_val bdd_val] [--limit 20]

The sets are those of a shipped config's `test_dataloader`; images go into the models and maps are
judged at their own size. The first model is the one that the others are compared with.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np


def main() -> None:
    """Measure every model on every set and print one table."""
    args = parse_arguments()
    from ood_seg.commands._startup import prepare

    prepare()
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from ood_seg.commands.configs import resolve_config
    from ood_seg.deploy import OnnxAnomalySegmentor

    cfg = Config.fromfile(resolve_config(args.config))
    init_default_scope("mmseg")
    models = {path: OnnxAnomalySegmentor(path, threads=args.threads) for path in args.models}
    rows: dict[str, list[str]] = {path: [] for path in args.models}
    titles = []
    classes = len(next(iter(models.values())).palette.classes)
    for name in args.anomaly_sets:
        found = anomaly_metrics(models, samples(cfg, name, args.limit))
        titles.append(f"{name}: AUROC / AP / FPR95")
        for path, values in found.items():
            figures = (f"{100 * values[key]:.2f}" for key in ("auroc", "ap", "fpr95"))
            rows[path].append(" / ".join(figures))
    for name in args.known_sets:
        titles.append(f"{name}: mIoU")
        known = samples(cfg, name, args.limit, num_classes=classes)
        for path, value in mean_iou(models, known).items():
            rows[path].append(f"{100 * value:.2f}")
    print(f"| model | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}")
    for path, cells in rows.items():
        print(f"| {path} | {' | '.join(cells)} |")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--config", default="energy_fcn-erfnet_cityscapes", help="names the sets")
    parser.add_argument("--anomaly-sets", nargs="*", default=["road_anomaly"])
    parser.add_argument("--known-sets", nargs="*", default=["cityscapes_val", "bdd_val"])
    parser.add_argument("--limit", type=int, help="images of each set; by default all")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def samples(cfg, name: str, limit: int | None, **labels) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and label maps of a set of the config, at their own size."""
    from mmseg.registry import DATASETS

    settings = cfg.test_dataloader[name].dataset.copy()
    settings["pipeline"] = [
        {"type": "LoadCheckedImage"},
        {"type": "LoadCheckedLabels", **labels},
    ]
    dataset = DATASETS.build(settings)
    for index in range(len(dataset))[:limit]:
        sample = dataset[index]
        yield sample["img"], sample["gt_seg_map"]


def anomaly_metrics(models: dict, pairs: Iterator) -> dict[str, dict[str, float]]:
    """Pooled pixel metrics of each model."""
    import torch

    from ood_seg.metrics import PixelMetrics

    metrics = {path: PixelMetrics(mode="streaming") for path in models}
    for image, labels in pairs:
        for path, model in models.items():
            scores = torch.from_numpy(model.predict([image])[0].anomaly)
            metrics[path].update(scores, torch.from_numpy(labels.astype(np.int64)))
    return {path: metric.compute() for path, metric in metrics.items()}


def mean_iou(models: dict, pairs: Iterator) -> dict[str, float]:
    """Intersection over union, averaged over the classes that occur."""
    count = len(next(iter(models.values())).palette.classes)
    pixels = {path: np.zeros((count, count), np.int64) for path in models}
    for image, labels in pairs:
        valid = labels < count
        for path, model in models.items():
            found = model.predict([image])[0].labels[valid].astype(np.int64)
            joint = np.bincount(labels[valid] * np.int64(count) + found, minlength=count**2)
            pixels[path] += joint.reshape(count, count)
    ious = {}
    for path, matrix in pixels.items():
        hit, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        ious[path] = float((hit[union > 0] / union[union > 0]).mean())
    return ious


if __name__ == "__main__":
    main()
