"""Time, memory and error of the pixel metrics and of other libraries, as Markdown.

    python benchmarks/metrics.py [--pixels 42000000 210000000] [--repeat 3] [--only sklearn ...]

Every method runs in its own process, on the same seeded scores. Time is the median over the
repeats. Memory is the peak of the process (`ru_maxrss`) minus its peak after the data were created
and the method was called once on a few pixels, so neither imports nor data count. Ratios and errors
are relative to scikit-learn's three calls in the same run, which take about 80 bytes per pixel and
a second per million pixels. torchmetrics is left out if it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

# Large imports are in the functions: this process must stay small, because on Linux the peak
# memory of a child starts at the memory of its parent.
METHODS = {
    "sklearn": "scikit-learn, three calls",
    "numpy": "NumPy, one sort",
    "torchmetrics": "torchmetrics, exact",
    "binned": "torchmetrics, 1000 bins of the sigmoid",
    "function": "ood_seg `pixel_metrics`",
    "exact": "ood_seg `PixelMetrics`, exact",
    "streaming": "ood_seg `PixelMetrics`, streaming",
}
CHUNK = 2**18

# Pixels per update: an image of 2048x1024.
IMAGE = 2**21


def main() -> None:
    """Measure every method and print a table for each number of pixels."""
    args = parse_arguments()
    if args.method is not None:
        print(json.dumps(measure(args, args.pixels[0])))
        return
    methods = [name for name in METHODS if name in args.only or name == "sklearn"]
    if importlib.util.find_spec("torchmetrics") is None:
        methods = [name for name in methods if name not in ("torchmetrics", "binned")]
        print("torchmetrics is not installed and therefore left out.\n")
    for pixels in args.pixels:
        kind = "float32" if args.decimals is None else f"rounded to {args.decimals} digits"
        print(
            f"{pixels:,} pixels, {args.anomalous:.2%} anomalous, scores {kind}, "
            f"median of {args.repeat}\n"
        )
        measure_and_print(methods, args, pixels)


def measure_and_print(methods: list[str], args: argparse.Namespace, pixels: int) -> None:
    """Print the Markdown row of each method as soon as it is measured.

    A method that fails, such as a library that cannot be imported, is named and left out.
    """
    results: dict[str, dict] = {}
    for name in methods:
        try:
            results[name] = run_in_own_process(name, args, pixels)
        except subprocess.CalledProcessError as error:
            print(f"{METHODS[name]} failed (exit {error.returncode}): left out", file=sys.stderr)
            if name == "sklearn":
                raise  # the reference of all others
            continue
        print_row(name, results, pixels)
    reference = results["sklearn"]
    metrics = ", ".join(f"{key} {value:.6f}" for key, value in reference["metrics"].items())
    print(f"\nscikit-learn, {reference['threads']} threads: {metrics}\n")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, nargs="+", default=[42_000_000])
    parser.add_argument("--anomalous", type=float, default=0.0025, help="fraction of the pixels")
    parser.add_argument("--decimals", type=int, help="round the scores, so that many are tied")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_own_process(name: str, args: argparse.Namespace, pixels: int) -> dict:
    """Measure one method in a fresh interpreter."""
    print(f"measuring {METHODS[name]} on {pixels:,} pixels ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--method", name, "--pixels", str(pixels)]
    for option in ("anomalous", "decimals", "repeat", "seed"):
        value = getattr(args, option)
        command += [] if value is None else [f"--{option}", str(value)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def measure(args: argparse.Namespace, pixels: int) -> dict:
    """Median seconds, peak extra memory, the metrics and their bounds by one method."""
    import torch

    method = globals()[f"with_{args.method}"]()
    scores, labels = make_data(args, pixels)
    method(scores[:100], (labels[:100] * 0) + (scores[:100] > scores[0]))
    baseline = peak_memory()
    seconds = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        metrics, *bounds = method(scores, labels)
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(seconds),
        "bytes": peak_memory() - baseline,
        "threads": torch.get_num_threads(),
        "metrics": metrics,
        "bounds": bounds[0] if bounds else None,
    }


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def make_data(args: argparse.Namespace, pixels: int) -> tuple:
    """Energies of overlapping classes, float32, and uint8 labels, without large temporaries."""
    import numpy as np

    rng = np.random.default_rng(args.seed)
    scores = np.empty(pixels, np.float32)
    labels = np.empty(pixels, np.uint8)
    for start in range(0, pixels, CHUNK):
        part = slice(start, min(start + CHUNK, pixels))
        labels[part] = rng.random(part.stop - start) < args.anomalous
        noise = rng.standard_normal(part.stop - start, dtype=np.float32)
        scores[part] = 1.5 * noise - 8 + 3 * labels[part]
        if args.decimals is not None:
            scores[part] = scores[part].round(args.decimals)
    return scores, labels


def with_sklearn() -> Callable:
    """scikit-learn's calls; FPR95 from the unthinned curve, since thinning may drop its point."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    def metrics(scores, labels) -> tuple:
        auroc = roc_auc_score(labels, scores)
        ap = average_precision_score(labels, scores)
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        return named(auroc, ap, fpr[(tpr >= 0.95).argmax()])

    return metrics


def with_numpy() -> Callable:
    """All three metrics from one sort of all pixels."""
    import numpy as np

    def metrics(scores, labels) -> tuple:
        order = np.argsort(scores)[::-1]
        ordered, hits = scores[order], labels[order]
        last = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)
        tp = np.cumsum(hits, dtype=np.int64)[last]
        fp = last + 1 - tp
        tpr, fpr = tp / tp[-1], fp / fp[-1]
        auroc = np.diff(fpr, prepend=0) @ (tpr + np.append(0, tpr[:-1])) / 2
        ap = np.diff(tpr, prepend=0) @ (tp / (tp + fp))
        return named(auroc, ap, fpr[(tpr >= 0.95).argmax()])

    return metrics


def with_torchmetrics(thresholds: int | None = None) -> Callable:
    """torchmetrics' functions; they put a sigmoid over scores outside [0, 1]."""
    import torch
    from torchmetrics.functional.classification import (
        binary_auroc,
        binary_average_precision,
        binary_roc,
    )

    def metrics(scores, labels) -> tuple:
        scores, labels = torch.from_numpy(scores), torch.from_numpy(labels).long()
        auroc = binary_auroc(scores, labels, thresholds=thresholds)
        ap = binary_average_precision(scores, labels, thresholds=thresholds)
        fpr, tpr, _ = binary_roc(scores, labels, thresholds=thresholds)
        return named(auroc, ap, fpr[(tpr >= 0.95).int().argmax()])

    return metrics


def with_binned() -> Callable:
    """The same with a fixed grid of thresholds."""
    return with_torchmetrics(1000)


def with_function() -> Callable:
    """Our function on the whole array."""
    from ood_seg.metrics import pixel_metrics

    return lambda scores, labels: (pixel_metrics(scores, labels),)


def with_exact(mode: str = "exact") -> Callable:
    """Our class, fed image by image."""
    from ood_seg.metrics import PixelMetrics

    def metrics(scores, labels) -> tuple:
        collected = PixelMetrics(mode)
        for start in range(0, scores.size, IMAGE):
            collected.update(scores[start : start + IMAGE], labels[start : start + IMAGE])
        return collected.compute(), collected.bounds() if mode == "streaming" else None

    return metrics


def with_streaming() -> Callable:
    """The same with counts instead of scores; the time includes the bounds."""
    return with_exact("streaming")


def named(auroc: float, ap: float, fpr95: float) -> tuple[dict[str, float]]:
    """The result of every method in one form."""
    return ({"auroc": float(auroc), "ap": float(ap), "fpr95": float(fpr95)},)


def print_row(name: str, results: dict[str, dict], pixels: int) -> None:
    """The row of a method, after the head in case of the first; errors in fractions of 1."""
    if len(results) == 1:
        head = ("method", "seconds", "faster", "peak MiB", "bytes/pixel")
        head += ("error AUROC", "error AP", "error FPR95", "bounds hold")
        print("| " + " | ".join(head) + " |")
        print("| --- |" + " ---: |" * (len(head) - 1))
    reference, result = results["sklearn"], results[name]
    expected = reference["metrics"]
    row = (
        METHODS[name],
        f"{result['seconds']:.2f}",
        f"{reference['seconds'] / result['seconds']:.1f}x",
        f"{result['bytes'] / 2**20:.0f}",
        f"{result['bytes'] / pixels:.2f}",
        *(f"{abs(result['metrics'][key] - expected[key]):.1e}" for key in expected),
        bounds_hold(result["bounds"], expected),
    )
    print("| " + " | ".join(row) + " |", flush=True)


def bounds_hold(bounds: dict | None, expected: dict[str, float]) -> str:
    """Whether the bounds contain scikit-learn's values, and the width of those of AP."""
    if bounds is None:
        return ""
    hold = all(low <= expected[name] <= high for name, (low, high) in bounds.items())
    return f"{'yes' if hold else 'NO'}, AP within {bounds['ap'][1] - bounds['ap'][0]:.1e}"


if __name__ == "__main__":
    main()
