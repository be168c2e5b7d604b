"""CPU time of a training sample, by transform, without and with the cache of decoded files.

    python benchmarks/loading.py energy-oe_fcn-erfnet_300it_street-coco
    python benchmarks/loading.py rpl_deepwv3plus-wrn38_40e_cityscapes-coco --cache-mb 512

The samples are positions 0, 1, ... of the seeded stream that training takes, each read twice: once
without and once with a filled cache, in turns, so that a busy machine slows both alike. Both must
be equal, pixel by pixel. One thread, CPU time of the process; the rate of several workers is
calculated from it and needs as many cores.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cv2
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ood_seg.config_files import load_config
from ood_seg.datasets.decoded_cache import CACHE


class Timed:
    """A transform that adds its CPU time to a counter."""

    def __init__(self, transform: BaseTransform, seconds: Counter[str]) -> None:
        self.transform, self.seconds = transform, seconds

    def __call__(self, results: dict) -> dict | None:
        start = time.process_time()
        results = self.transform(results)
        self.seconds[type(self.transform).__name__] += time.process_time() - start
        return results


def pipelines(dataset: Any) -> Iterator[Compose]:
    """The pipelines of a dataset and of all that it wraps."""
    if isinstance(getattr(dataset, "pipeline", None), Compose):
        yield dataset.pipeline
    for name in ("dataset", "clean", "pasted"):
        if hasattr(dataset, name):
            yield from pipelines(getattr(dataset, name))
    for part in getattr(dataset, "datasets", ()):
        yield from pipelines(part)


def set_cache(transforms: list[BaseTransform], megabytes: int) -> None:
    """Set the bound of every transform that has one."""
    for transform in transforms:
        if hasattr(transform, "cache_mb"):
            transform.cache_mb = megabytes


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--cache-mb", type=int, default=512)
    parser.add_argument("--workers", type=int, default=8, help="for the calculated rate")
    parser.add_argument("--cfg-options", nargs="+", default=None)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope("mmseg")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    dataset.seed = 0
    seconds: dict[str, Counter[str]] = {"without": Counter(), "with": Counter()}
    transforms = []
    for compose in {id(one): one for one in pipelines(dataset)}.values():
        transforms += compose.transforms
        compose.transforms = [Timed(one, seconds["without"]) for one in compose.transforms]
    timed = [one for compose in pipelines(dataset) for one in compose.transforms]

    set_cache(transforms, args.cache_mb)
    for position in range(args.samples):  # fills the cache, and the memory of file system
        dataset[position]
    seconds["without"].clear()
    for position in range(args.samples):
        samples = {}
        for name, megabytes in (("without", 0), ("with", args.cache_mb)):
            set_cache(transforms, megabytes)
            for one in timed:
                one.seconds = seconds[name]
            samples[name] = dataset[position]
        check_equal(position, *samples.values())
    print_table(seconds, args)


def check_equal(position: int, one: dict, other: dict) -> None:
    """Raise unless two samples have the same image and labels."""
    labels = [sample["data_samples"].gt_sem_seg.data for sample in (one, other)]
    if not (torch.equal(one["inputs"], other["inputs"]) and torch.equal(*labels)):
        raise SystemExit(f"sample {position} differs with the cache")


def print_table(seconds: dict[str, Counter[str]], args: argparse.Namespace) -> None:
    """Print milliseconds a sample, and the rate that follows."""
    print(f"\n{args.config}: CPU ms a sample, mean of {args.samples}, one thread")
    print("| | without cache | with cache |\n|---|---|---|")
    for name in seconds["without"]:
        row = (f"{seconds[kind][name] / args.samples * 1e3:.1f}" for kind in seconds)
        print(f"| `{name}` | {' | '.join(row)} |")
    total = [sum(counter.values()) / args.samples for counter in seconds.values()]
    print(f"| all | {' | '.join(f'{value * 1e3:.1f}' for value in total)} |")
    rates = " | ".join(f"{args.workers / value:.0f}" for value in total)
    print(f"| samples/s of {args.workers} workers, calculated | {rates} |")
    print(f"cache: {CACHE.num_bytes / 2**20:.0f} MiB in {len(CACHE)} arrays")


if __name__ == "__main__":
    main()
