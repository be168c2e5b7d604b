"""Two recipes, each trained with several seeds, on the same images: differences and their reason.

    python benchmarks/compare_recipes.py LABELS --first MAPS ... --second MAPS ... \
        [--predicted LABELS --prior PRIOR.json] [--label-map 0:0 2:1]

MAPS are folders of `ood-seg test --out`, one per seed, in the same order for both. The first table
has second minus first: the mean over the seeds with its interval over images (all runs see the
same resamples), and each seed alone. With the labels that the frozen network predicts (`ood-seg
infer --save labels`) a second table shows, by predicted class, the recall of anomalous pixels and
the false-positive rate at the threshold of each run that flags 5 % of all known pixels, both means
over the seeds, beside the class's share in the outlier prior (`outlier_prior.json` of a balanced
training).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from ood_seg.datasets.label_images import decode_label_image
from ood_seg.evaluation.matching import match_maps, match_others
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.labels import ANOMALY, CITYSCAPES_CLASSES, KNOWN
from ood_seg.metrics import ScoreHistogram
from ood_seg.metrics.resampling import draw_weights, resampled_metrics
from ood_seg.outlier_priors import read_prior
from ood_seg.reports.tables import Table

METRICS = {"auroc": "AUROC", "ap": "AP", "fpr95": "FPR95"}
FPR = 0.05


def main() -> None:
    """Read all maps once, then print the tables."""
    args = parse_arguments()
    reader = MapReader(label_map=dict(pair.split(":") for pair in args.label_map))
    pairs = match_maps(args.first[0], args.labels).pairs
    names = [pair.name for pair in pairs]
    runs = [match_others(folder, names, suffixes=(".npy",)) for folder in args.first + args.second]
    predicted = args.predicted and match_others(args.predicted, names)
    some = np.s_[:: args.step, :: args.step]
    histograms: list[list[ScoreHistogram]] = [[] for _ in runs]
    sampled: list[list[np.ndarray]] = [[] for _ in runs]
    labels_of, classes_of = [], []
    for index, pair in enumerate(pairs):
        for run, files in enumerate(runs):
            scores, labels = reader.read(files[pair.name], pair.truth)
            histograms[run].append(ScoreHistogram.from_scores(scores, labels))
            sampled[run].append(scores[some].ravel())
        labels_of.append(labels[some].ravel())
        if predicted:
            path = predicted[pair.name]
            classes_of.append(decode_label_image(path.read_bytes(), path)[some].ravel())
        print(f"\rimage {index + 1} of {len(pairs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_differences(histograms, args)
    if predicted:
        scores = [np.concatenate(parts) for parts in sampled]
        print_classes(np.concatenate(classes_of), np.concatenate(labels_of), scores, args)


def parse_arguments() -> argparse.Namespace:
    """Command line; both recipes have the same number of runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, metavar="LABELS", help="folder of the ground truth")
    for name in ("--first", "--second"):
        parser.add_argument(name, type=Path, nargs="+", required=True, metavar="MAPS")
    parser.add_argument("--label-map", nargs="+", default=["0:0", "1:1"], metavar="FROM:TO")
    parser.add_argument("--predicted", type=Path, metavar="LABELS")
    parser.add_argument("--prior", type=Path, metavar="PRIOR.json")
    parser.add_argument("--step", type=int, default=2, help="rows and columns of the second table")
    parser.add_argument("--share", type=float, default=2.0, help="rows: percent of either kind")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if len(args.first) != len(args.second):
        parser.error(f"--first has {len(args.first)} folders and --second {len(args.second)}")
    return args


def print_differences(histograms: list[list[ScoreHistogram]], args: argparse.Namespace) -> None:
    """Second minus first: mean over the seeds with a 95 % interval over images, each seed."""
    seeds = len(args.first)
    weights, _ = draw_weights(histograms[0], args.samples, np.random.default_rng(args.seed))
    weights = np.concatenate([np.ones_like(weights[:1]), weights])  # row 0: all images once
    values = [resampled_metrics(run, weights) for run in histograms]
    rows = []
    for key, title in METRICS.items():
        first, second = (
            np.array([run[key] for run in part]) * 100 for part in (values[:seeds], values[seeds:])
        )
        change = second - first
        low, high = np.quantile(change[:, 1:].mean(axis=0), (0.025, 0.975))
        rows.append(
            (
                title,
                *(spread(part[:, 0]) for part in (first, second)),
                f"{change[:, 0].mean():+.1f} ({low:.1f} to {high:.1f})",
                ", ".join(f"{one:+.1f}" for one in change[:, 0]),
            )
        )
    header = ("", "first", "second", "difference (95 %, images)", "difference by seed")
    print(Table("", header, rows, text_columns=header).to_markdown())


def print_classes(
    classes: np.ndarray, labels: np.ndarray, scores: list[np.ndarray], args: argparse.Namespace
) -> None:
    """Recall and false-positive rate by the class that the frozen network predicts."""
    prior = read_prior(args.prior).prior if args.prior else None
    known, anomalous = labels == KNOWN, labels == ANOMALY
    flagged = [run >= np.quantile(run[known], 1 - FPR) for run in scores]
    rows = []
    for number in np.unique(classes):
        here = classes == number
        parts = here & known, here & anomalous
        shares = [
            part.sum() / kind.sum() for part, kind in zip(parts, (known, anomalous), strict=True)
        ]
        if 100 * max(shares) < args.share:
            continue
        rates = [
            [
                mean_rate(runs, part)
                for runs in (flagged[: len(args.first)], flagged[len(args.first) :])
            ]
            for part in parts
        ]
        rows.append(
            (
                CITYSCAPES_CLASSES[number],
                f"{100 * prior[number]:.1f}" if prior is not None else "-",
                *(f"{100 * share:.1f}" for share in shares),
                *(" / ".join(rate) for rate in reversed(rates)),
            )
        )
    header = (
        "predicted",
        "prior %",
        "known %",
        "anomalous %",
        "recall: first / second",
        "FPR: first / second",
    )
    print(Table("", header, rows).to_markdown())


def mean_rate(flagged: list[np.ndarray], part: np.ndarray) -> str:
    """Percentage of the pixels that are flagged, mean over the runs; a dash without pixels."""
    return f"{100 * np.mean([run[part].mean() for run in flagged]):.1f}" if part.any() else "-"


def spread(values: np.ndarray) -> str:
    """Mean, and the sample standard deviation if there are several values."""
    mean = f"{values.mean():.1f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.1f}"


if __name__ == "__main__":
    main()
