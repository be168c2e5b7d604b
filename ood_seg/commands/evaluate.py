"""Evaluate saved score maps of any origin; writes evaluation.json and reports."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _saved_maps

if TYPE_CHECKING:
    from ood_seg.evaluation.matching import Matches
    from ood_seg.evaluation.run import Evaluation
    from ood_seg.evaluation.saved_maps import MapReader
    from ood_seg.evaluation.settings import Settings

_NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg evaluate`."""
    _saved_maps.add_map_arguments(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the result and of partial results, from which an interrupted evaluation "
        "goes on (default: work_dirs/evaluate/METHOD_DATA-SET)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures, for the report")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="DIR",
        help="score maps of another method on the same images: paired bootstrap comparison",
    )
    parser.add_argument("--compare-method", metavar="NAME", help="name of the other method")
    _add_metric_arguments(parser.add_argument_group("metrics"))
    closed = parser.add_argument_group("closed set")
    closed.add_argument(
        "--predicted-labels", type=Path, metavar="DIR", help="predicted classes 0..18 (.png)"
    )
    closed.add_argument(
        "--known-labels", type=Path, metavar="DIR", help="true classes 0..18, 255 (.png)"
    )


def _add_metric_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--protocol",
        default="pooled",
        metavar="NAME",
        help="rules of a published table (default: pooled; an unknown name lists them all)",
    )
    group.add_argument(
        "--mode",
        default="auto",
        choices=("auto", "exact", "streaming"),
        help="auto is exact while the scores fit into --memory, else streaming, with bounds",
    )
    group.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB", help="see --mode (default: 2)"
    )
    group.add_argument(
        "--tpr",
        type=float,
        nargs="+",
        default=[0.95],
        metavar="RATE",
        help="give the FPR also at these true-positive rates, such as 0.9",
    )
    _add_interval_arguments(group)
    _add_part_arguments(group)


def _add_interval_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--samples",
        type=int,
        default=1000,
        metavar="N",
        help="bootstrap resamples (default: %(default)s); 0: no intervals",
    )
    group.add_argument(
        "--level",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="of the intervals (default: %(default)s)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of resamples and of the division into halves (default: %(default)s)",
    )


def _add_part_arguments(group: argparse._ArgumentGroup) -> None:
    """Components and calibration, and the images that their thresholds come from."""
    group.add_argument(
        "--components",
        default="anomaly",
        choices=("anomaly", "obstacle", _NONE),
        help="track of the component metrics, which sets the smallest sizes that count (default: "
        "%(default)s)",
    )
    group.add_argument(
        "--calibration",
        default="platt",
        choices=("platt", "temperature", "isotonic", _NONE),
        help="curve of the probability (default: %(default)s)",
    )
    group.add_argument(
        "--select-fraction",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of the images that calibration and operating points are fitted on; they are "
        "reported on the others (default: %(default)s; 0: fitted and reported on all)",
    )
    group.add_argument(
        "--threshold-on",
        default="all",
        choices=("all", "select"),
        help="images whose best F1 gives the component threshold: all, as published, or those "
        "of --select-fraction, with components reported on the others",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate as the arguments say; print the table and write the reports."""
    from ood_seg.io.json_files import write_json
    from ood_seg.reports.terminal import print_evaluation

    settings = _settings(args)
    reader = _saved_maps.map_reader(args)
    matches = _saved_maps.matched_maps(args)
    folder = args.out or Path("work_dirs/evaluate") / f"{settings.method}_{settings.data_set}"
    classes = _class_files(args, matches)
    evaluation = _evaluate(args, settings, reader, matches, folder, classes)
    evaluation.content["notes"] += matches.notes
    path = folder / "evaluation.json"
    write_json(path, evaluation.content)
    written = [path, *_write_reports(path)]
    if evaluation.reused:
        evaluation.content["notes"].append(
            f"{evaluation.reused} of {len(matches.pairs)} images reused from an earlier run"
        )
    print_evaluation(evaluation.content, written=written)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    from ood_seg.evaluation.settings import Settings
    from ood_seg.io.provenance import git_commit

    return Settings(
        **_saved_maps.names(args),
        protocol=args.protocol,
        mode=args.mode,
        memory=int(args.memory * 2**30),
        tprs=tuple(args.tpr),
        samples=args.samples,
        level=args.level,
        seed=args.seed,
        calibration=None if args.calibration == _NONE else args.calibration,
        select_fraction=args.select_fraction,
        track=None if args.components == _NONE else args.components,
        threshold_on=args.threshold_on,
        commit=git_commit(),
    )


def _evaluate(
    args: argparse.Namespace,
    settings: Settings,
    reader: MapReader,
    matches: Matches,
    folder: Path,
    classes: dict[str, tuple[Path, Path]],
) -> Evaluation:
    """The evaluation, with the comparison in its content where asked for, and a progress bar."""
    from rich.progress import Progress

    from ood_seg.evaluation.matching import match_images
    from ood_seg.evaluation.run import evaluate_maps

    names = [pair.name for pair in matches.pairs]
    second_reading = bool(settings.calibration or settings.track or classes)
    total = len(names) * (1 + second_reading + bool(args.compare))
    with Progress(transient=True) as progress:
        task = progress.add_task("images", total=total)
        evaluation = evaluate_maps(
            matches.pairs,
            reader,
            settings,
            folder=folder / "partial",
            class_files=classes,
            images=match_images(args.images, names, strip=args.strip) if args.images else None,
            workers=args.workers,
            on_image=lambda: progress.advance(task),
        )
        if args.compare:
            evaluation.content["comparison"] = _comparison(
                args, settings, evaluation, folder, lambda: progress.advance(task)
            )
    return evaluation


def _comparison(
    args: argparse.Namespace,
    settings: Settings,
    evaluation: Evaluation,
    folder: Path,
    on_image: Any,
) -> dict[str, Any]:
    from ood_seg.evaluation.run import compare_with

    return compare_with(
        evaluation,
        _saved_maps.matched_maps(args, args.compare).pairs,
        _saved_maps.map_reader(args, args.compare),
        settings,
        name=args.compare_method or args.compare.resolve().name,
        folder=folder / "partial-compare",
        workers=args.workers,
        on_image=on_image,
    )


def _class_files(args: argparse.Namespace, matches: Matches) -> dict[str, tuple[Path, Path]]:
    """Predicted and true class labels of the images, where both folders are given.

    Raises:
        ValueError: only one folder, or an image lacks a file in one of them.
    """
    from ood_seg.datasets.listing import shorten
    from ood_seg.evaluation.matching import match_others

    folders = (args.predicted_labels, args.known_labels)
    if folders == (None, None):
        return {}
    if None in folders:
        raise ValueError("the closed set needs both --predicted-labels and --known-labels")
    names = [pair.name for pair in matches.pairs]
    predicted, known = (match_others(folder, names, strip=args.strip) for folder in folders)
    for folder, found in zip(folders, (predicted, known), strict=True):
        missing = [name for name in names if name not in found]
        if missing and not args.allow_missing:
            raise ValueError(
                f"{folder}: no label map for {len(missing)} images: {shorten(missing)}"
            )
        if missing:
            matches.notes.append(f"left out of the closed set: {len(missing)} images")
    return {name: (predicted[name], known[name]) for name in predicted if name in known}


def _write_reports(path: Path) -> list[Path]:
    """Reports for people beside the JSON file, read from it as any other program would."""
    import json

    from ood_seg.reports import write_reports

    content = json.loads(path.read_text(encoding="utf-8"))
    return list(write_reports(content, path.parent, ("html", "md", "csv", "tex")).values())
