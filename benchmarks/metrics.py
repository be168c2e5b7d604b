"""Time and memory of the exact pixel metrics beside scikit-learn's three calls.

    python benchmarks/metrics.py [--pixels 20000000] [--anomalous 0.0025] [--repeats 3]

Every method runs in a process of its own, on the same seeded scores. Time is the median over the
repeats. Memory is how far the process's peak (`ru_maxrss`) rises above its peak after the data
were made and the method was called once on a few pixels, so imports do not count. Needs
scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

# The heavy imports stand in the functions: this process must stay small, because on Linux the
# peak memory of a child starts at what its parent occupied.
METHODS = {
    "sklearn": "scikit-learn, three calls",
    "function": "ood_seg pixel_metrics",
    "class": "ood_seg PixelMetrics, 20 updates",
}
CHUNK = 2**18


def main() -> None:
    """Measure every method and print the table."""
    args = parse_arguments()
    if args.method is not None:
        print(json.dumps(measure(args)))
        return
    results = {name: run_in_own_process(name, args) for name in METHODS}
    print(
        f"{args.pixels:,} pixels, {args.anomalous:.2%} anomalous, scores "
        f"{'float32' if args.decimals is None else f'rounded to {args.decimals} digits'}, "
        f"{results['function']['threads']} threads, median of {args.repeats}"
    )
    print_table(results)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=20_000_000)
    parser.add_argument("--anomalous", type=float, default=0.0025, help="fraction of the pixels")
    parser.add_argument("--decimals", type=int, help="round the scores, so that many are tied")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_own_process(name: str, args: argparse.Namespace) -> dict:
    """Measure one method in a fresh interpreter."""
    print(f"measuring {METHODS[name]} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--method", name]
    for option in ("pixels", "anomalous", "decimals", "repeats", "seed"):
        value = getattr(args, option)
        command += [] if value is None else [f"--{option}", str(value)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def measure(args: argparse.Namespace) -> dict:
    """Median seconds, peak extra memory and the metrics of one method."""
    import torch

    method = {"sklearn": with_sklearn, "function": with_function, "class": with_class}[
        args.method
    ]()
    scores, labels = make_data(args)
    method(scores[:100], (labels[:100] * 0) + (scores[:100] > scores[0]))
    baseline = peak_memory()
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        metrics = method(scores, labels)
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(seconds),
        "megabytes": (peak_memory() - baseline) / 2**20,
        "threads": torch.get_num_threads(),
        "metrics": metrics,
    }


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def make_data(args: argparse.Namespace) -> tuple:
    """Energies of overlapping classes, float32, and uint8 labels, without large temporaries."""
    import numpy as np

    rng = np.random.default_rng(args.seed)
    scores = np.empty(args.pixels, np.float32)
    labels = np.empty(args.pixels, np.uint8)
    for start in range(0, args.pixels, CHUNK):
        part = slice(start, min(start + CHUNK, args.pixels))
        labels[part] = rng.random(part.stop - start) < args.anomalous
        noise = rng.standard_normal(part.stop - start, dtype=np.float32)
        scores[part] = 1.5 * noise - 8 + 3 * labels[part]
        if args.decimals is not None:
            scores[part] = scores[part].round(args.decimals)
    return scores, labels


def with_sklearn() -> Callable:
    """scikit-learn's calls; FPR95 from the unthinned curve, since thinning may drop its point."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    def metrics(scores, labels) -> dict:
        auroc = roc_auc_score(labels, scores)
        ap = average_precision_score(labels, scores)
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        return {"auroc": float(auroc), "ap": float(ap), "fpr95": float(fpr[(tpr >= 0.95).argmax()])}

    return metrics


def with_function() -> Callable:
    """Our function on the whole array."""
    from ood_seg.metrics import pixel_metrics

    return pixel_metrics


def with_class() -> Callable:
    """Our class, as if the pixels came from 20 images."""
    import numpy as np

    from ood_seg.metrics import PixelMetrics

    def metrics(scores, labels) -> dict:
        collected = PixelMetrics()
        for part, part_labels in zip(
            np.array_split(scores, 20), np.array_split(labels, 20), strict=True
        ):
            collected.update(part, part_labels)
        return collected.compute()

    return metrics


def print_table(results: dict[str, dict]) -> None:
    """One row per method; ratios and errors are against scikit-learn."""
    reference = results["sklearn"]
    head = ("method", "seconds", "faster", "peak MiB", "of peak", "largest |error|")
    rows = [head]
    for name, result in results.items():
        error = max(
            abs(result["metrics"][key] - value) for key, value in reference["metrics"].items()
        )
        rows.append(
            (
                METHODS[name],
                f"{result['seconds']:.2f}",
                f"{reference['seconds'] / result['seconds']:.1f}x",
                f"{result['megabytes']:.0f}",
                f"1/{reference['megabytes'] / max(result['megabytes'], 1e-3):.1f}",
                f"{error:.1e}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells))
    metrics = "  ".join(f"{key} {value:.6f}" for key, value in reference["metrics"].items())
    print(f"scikit-learn: {metrics}")


if __name__ == "__main__":
    main()
