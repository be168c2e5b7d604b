"""Where a score fails: its values and rankings by the class that the model predicts.

    python benchmarks/by_class.py CONFIG --statistics FILE --scores max-logit sml --sets NAME

Takes the options of `ood-seg benchmark` that select model, scores and sets. One table per set has
the shares of the known and of the anomalous pixels by predicted class, and the medians of each
score over both. A second one has the AUROC of each score over all pairs of a known and an anomalous
pixel, over the pairs with the same predicted class, and over the others. Shifting and scaling a
score per class, as SML does with the largest logit before its last two steps, changes only the
third.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ood_seg.metrics import metrics_from_scores
from ood_seg.reports.tables import Table

CLASS = "class"


class Pixels(NamedTuple):
    """A sample of the valid pixels of a set."""

    classes: np.ndarray
    anomalous: np.ndarray
    scores: dict[str, np.ndarray]


class PredictedClass(nn.Module):
    """The predicted class as a score, so that all come from one forward pass."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=1).float()


def main() -> None:
    """Score every set and print its tables."""
    from ood_seg.commands import _arguments

    args = parse_arguments()
    cfg = _arguments.load_config(args)
    from ood_seg.comparison.anomaly_sets import anomaly_sets
    from ood_seg.comparison.model_scores import build_score, with_statistics
    from ood_seg.comparison.ready_made import ALL, parse_configs, ready_made
    from ood_seg.comparison.shared_pass import SharedPass
    from ood_seg.models.loading import load_model

    sets = anomaly_sets(cfg, args.sets, args.num_images)
    model = load_model(cfg, args.checkpoint, plain_score=True)
    names = args.scores or (() if args.score else (ALL,))
    configs = {**ready_made(names), **parse_configs(args.score)}
    scores = {
        name: build_score(with_statistics(config, args.statistics)).eval()
        for name, config in configs.items()
    }
    source = SharedPass(model, {CLASS: PredictedClass(), **scores})
    if source.failures:
        sys.exit("\n".join(f"{name}: {reason}" for name, reason in source.failures.items()))
    for anomaly_set in sets:
        pixels = sampled(source, anomaly_set, args.step)
        print(f"\n{anomaly_set.name}, {anomaly_set.size} images\n")
        print_classes(pixels, model.dataset_meta["classes"], args.share / 100)
        print_rankings(pixels)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    from ood_seg.commands import benchmark

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    benchmark.add_arguments(parser)
    parser.add_argument("--step", type=int, default=4, help="every so many-th row and column")
    parser.add_argument("--share", type=float, default=1.0, help="rows: percent of either kind")
    return parser.parse_args()


def sampled(source, anomaly_set, step: int) -> Pixels:
    """Scores of all images of a set at every `step`-th row and column."""
    parts = []
    for index, batch in enumerate(anomaly_set.batches()):
        labels = torch.as_tensor(anomaly_set.labels(batch))[::step, ::step]
        valid = labels < 2
        part = {"anomalous": (labels[valid] == 1).numpy()}
        for scored in source.scores(batch, source.names, memory=False):
            if scored.failure:
                sys.exit(f"{scored.name}: {scored.failure}")
            part[scored.name] = torch.as_tensor(scored.scores)[::step, ::step][valid].cpu().numpy()
        parts.append(part)
        print(f"\r{anomaly_set.name}: image {index + 1}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    scores = {name: joined[name] for name in source.names if name != CLASS}
    return Pixels(joined[CLASS].astype(np.uint8), joined["anomalous"], scores)


def print_classes(pixels: Pixels, names, least: float) -> None:
    """One row per class of at least a share `least` of the known or of the anomalous pixels."""
    rows = []
    kinds = [~pixels.anomalous, pixels.anomalous]
    for number, name in enumerate(names):
        inside = [(pixels.classes == number) & kind for kind in kinds]
        shares = [some.sum() / kind.sum() for some, kind in zip(inside, kinds, strict=True)]
        if max(shares) < least:
            continue
        cells = [name, *(f"{100 * share:.1f}" for share in shares)]
        for values in pixels.scores.values():
            cells.append(" / ".join(median(values[some]) for some in inside))
        rows.append(cells)
    header = ("predicted", "known %", "anomalous %", *pixels.scores)
    print(Table("", header, rows).to_markdown())


def print_rankings(pixels: Pixels) -> None:
    """AUROC of each score over all pairs, those with one predicted class, and the others."""
    known, anomalous = (
        [pixels.classes[pixels.anomalous == kind] == c for c in np.unique(pixels.classes)]
        for kind in (False, True)
    )
    pairs = np.array(
        [float(k.sum()) * float(a.sum()) for k, a in zip(known, anomalous, strict=True)]
    )
    total = float((~pixels.anomalous).sum()) * float(pixels.anomalous.sum())
    same = pairs.sum() / total
    rows = []
    for name, values in pixels.scores.items():
        apart = values[~pixels.anomalous], values[pixels.anomalous]
        of_class = np.array(
            [auroc(apart[0][k], apart[1][a]) for k, a in zip(known, anomalous, strict=True)]
        )
        everywhere = auroc(*apart)
        within = (of_class * pairs)[pairs > 0].sum() / pairs.sum()
        between = (everywhere - within * same) / (1 - same)
        rows.append((name, *(f"{100 * value:.1f}" for value in (everywhere, within, between))))
    one_class = f"one class: {100 * same:.1f} % of the pairs"
    print(Table("", ("AUROC over", "all", one_class, "two classes"), rows).to_markdown())


def auroc(known: np.ndarray, anomalous: np.ndarray) -> float:
    """AUROC; NaN without known or without anomalous pixels."""
    if not len(known) or not len(anomalous):
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # far below 0.5 is what this script looks for
        return metrics_from_scores(known, anomalous)["auroc"]


def median(values: np.ndarray) -> str:
    """Median with two decimals; a dash without values."""
    return f"{np.median(values):.2f}" if len(values) else "-"


if __name__ == "__main__":
    main()
