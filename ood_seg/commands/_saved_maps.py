"""What `evaluate` and `calibrate` share: options that say how saved maps are read and paired."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ood_seg.evaluation.matching import Matches
    from ood_seg.evaluation.saved_maps import MapReader


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folders, and how to read and pair their files."""
    parser.add_argument(
        "scores",
        type=Path,
        metavar="SCORES",
        help="folder of score maps (.npy, .npz, TIFF, PNG, EXR), higher means more anomalous; such "
        "as DIR/SET of `ood-seg test --out DIR`",
    )
    parser.add_argument(
        "ground_truth", type=Path, metavar="GROUND_TRUTH", help="folder of label pictures (.png)"
    )
    parser.add_argument(
        "--method", metavar="NAME", help="name of the scores (default: that of their folder)"
    )
    parser.add_argument(
        "--data-set", metavar="NAME", help="name of the images (default: that of their folder)"
    )
    reading = parser.add_argument_group("reading")
    _add_value_arguments(reading)
    _add_pairing_arguments(reading)
    reading.add_argument(
        "--workers",
        type=int,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads that read and count (default: %(default)s)",
    )


def _add_value_arguments(reading: argparse._ArgumentGroup) -> None:
    """What the numbers in the files mean."""
    labels = reading.add_mutually_exclusive_group()
    labels.add_argument(
        "--label-map",
        nargs="+",
        metavar="FROM:TO",
        help="label values of the ground truth: 0:0 2:1 makes 2 the anomaly (default: 0:0 1:1); "
        "255 is ignored",
    )
    labels.add_argument(
        "--training-labels",
        type=int,
        metavar="C",
        help="the ground truth holds 0..C-1 known, 254 anomaly, 255 ignored",
    )
    reading.add_argument("--key", help="array of .npz files (default: their only one)")
    reading.add_argument(
        "--scale",
        type=float,
        help="score = offset + scale * stored, for whole numbers such as 16-bit PNG; else they "
        "are ranked as they are (default: scale.json in SCORES, if there)",
    )
    reading.add_argument("--offset", type=float, default=0.0, help="see --scale")
    reading.add_argument(
        "--negate", action="store_true", help="low scores mean anomalous, as for confidences"
    )


def _add_pairing_arguments(reading: argparse._ArgumentGroup) -> None:
    """Which files belong together."""
    reading.add_argument(
        "--strip",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="regular expressions taken off the file names before they are paired, beside "
        "common endings such as _labels",
    )
    reading.add_argument(
        "--truth-suffix",
        default=".png",
        metavar="END",
        help="end of the ground truth files, where their folder holds other pictures too: "
        "_labelTrainIds.png",
    )
    reading.add_argument(
        "--allow-missing", action="store_true", help="leave out what has no partner, and say so"
    )


def map_reader(args: argparse.Namespace, scores: Path | None = None) -> MapReader:
    """The reader that the options ask for.

    Args:
        args: of the command.
        scores: folder of score maps with a side-car of its own; None: that of the command.

    Raises:
        ValueError: an option is out of range; names it.
    """
    from ood_seg.evaluation.saved_maps import (
        SCALE_FILE,
        MapFormat,
        MapReader,
        read_scale_file,
        training_label_map,
    )

    scaling = {"scale": args.scale, "offset": args.offset}
    side_car = (scores or args.scores) / SCALE_FILE
    if args.scale is None and side_car.is_file():
        scaling = read_scale_file(side_car)
    options = {"format": MapFormat(key=args.key, negate=args.negate, **scaling)}
    if args.training_labels is not None:
        options["label_map"] = training_label_map(args.training_labels)
    elif args.label_map:
        options["label_map"] = dict(map(_label_pair, args.label_map))
    return MapReader(**options)


def matched_maps(args: argparse.Namespace, scores: Path | None = None) -> Matches:
    """The pairs of files; see `ood_seg.evaluation.matching.match_maps`.

    Args:
        args: of the command.
        scores: folder of score maps; None: that of the command.
    """
    from ood_seg.evaluation.matching import match_maps

    return match_maps(
        scores or args.scores,
        args.ground_truth,
        strip=args.strip,
        truth_suffix=args.truth_suffix,
        allow_missing=args.allow_missing,
    )


def names(args: argparse.Namespace) -> dict[str, str]:
    """`method` and `data_set`, by default the names of the folders."""
    return {
        "method": args.method or args.scores.resolve().name,
        "data_set": args.data_set or args.ground_truth.resolve().name,
    }


def _label_pair(text: str) -> tuple[str, str]:
    raw, mark, label = text.partition(":")
    if not mark:
        raise ValueError(f"--label-map: expected FROM:TO such as 2:1, got {text!r}")
    return raw, label
