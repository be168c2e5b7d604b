"""Arguments of `evaluate` and `calibrate`: saved maps, and how they are read and paired."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands._parser import add_renamed
from ood_seg.progress import progress_tasks

if TYPE_CHECKING:
    from ood_seg.evaluation.folders import MapFolders

_CURVES = ("platt", "temperature", "isotonic", "none")


def add_curve(group: argparse._ArgumentGroup, *, former: str, default: str | None) -> None:
    """Add `--fit-curve`, the curve of the probability.

    Args:
        group: of the option.
        former: name that the option had before, still taken.
        default: `platt`; None: that, or none where no pixel is anomalous.
    """
    without = "" if default else "; none where no pixel is anomalous"
    group.add_argument(
        "--fit-curve",
        default=default,
        choices=_CURVES,
        help=f"curve of the probability (default: platt{without})",
    )
    add_renamed(group, former, "--fit-curve", choices=_CURVES)


def add_maps(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the folders, and how to read and pair their files.

    Args:
        parser: of the command.
        several: whether an option of the command may name the score maps instead.
    """
    parser.add_argument(
        "scores",
        type=Path,
        nargs="?" if several else None,
        metavar="SCORES",
        help="folder of score maps (.npy, .npz, TIFF, PNG, EXR), higher means more anomalous; such "
        "as DIR/SET of `ood-seg test --out DIR`",
    )
    parser.add_argument(
        "ground_truth", type=Path, metavar="GROUND_TRUTH", help="folder of label images (.png)"
    )
    add_map_options(parser)


def add_map_options(parser: argparse._ActionsContainer) -> None:
    """Add how to name, read and pair the files."""
    parser.add_argument(
        "--method", metavar="NAME", help="name of the scores (default: that of their folder)"
    )
    parser.add_argument(
        "--dataset",
        "--data-set",
        dest="data_set",
        metavar="NAME",
        help="name of the images (default: that of the folder of the ground truth)",
    )
    reading = parser.add_argument_group("reading")
    _add_values(reading)
    _add_pairing(reading)
    reading.add_argument(
        "--workers",
        type=int,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads that read and count (default: %(default)s)",
    )


def _add_values(reading: argparse._ArgumentGroup) -> None:
    """Add the meaning of the numbers in the files."""
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
        help="score = offset + scale * stored, for integers such as 16-bit PNG; otherwise these "
        "are ranked as they are (default: scale.json in SCORES, if there)",
    )
    reading.add_argument("--offset", type=float, default=0.0, help="see --scale")
    reading.add_argument(
        "--negate", action="store_true", help="low scores mean anomalous, as for confidences"
    )


def _add_pairing(reading: argparse._ArgumentGroup) -> None:
    """Add which files belong together."""
    reading.add_argument(
        "--strip",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="regular expressions removed from the file names before they are paired, beside "
        "common endings such as _labels",
    )
    reading.add_argument(
        "--truth-suffix",
        default=".png",
        metavar="END",
        help="end of the ground truth files, where their folder holds other images too: "
        "_labelTrainIds.png",
    )
    reading.add_argument(
        "--allow-missing", action="store_true", help="leave out what has no partner, with a note"
    )


def map_folders(args: argparse.Namespace, scores: Path | None = None) -> MapFolders:
    """Return the maps that the arguments of `add_maps` describe.

    Args:
        args: parsed.
        scores: folder of score maps; None: SCORES.

    Raises:
        ValueError: an option is out of range; names it.
    """
    from ood_seg.evaluation.folders import MapFolders
    from ood_seg.evaluation.saved_maps import MapFormat, training_label_map

    options = {name: getattr(args, name) for name in ("strip", "truth_suffix", "allow_missing")}
    if args.training_labels is not None:
        options["label_map"] = training_label_map(args.training_labels)
    elif args.label_map:
        options["label_map"] = label_map(args.label_map)
    format = MapFormat(args.key, args.scale, args.offset, args.negate)
    return MapFolders(scores or args.scores, args.ground_truth, format, **options)


def data_set_name(args: argparse.Namespace) -> str:
    """Return the name of the images, by default that of the folder of the ground truth."""
    return args.data_set or args.ground_truth.resolve().name


def label_map(texts: Sequence[str]) -> dict[int, int]:
    """Return the label map of `--label-map`, checked; 255 stays ignored unless it is mapped.

    Raises:
        ValueError: a text of another form, or a value that is no label.
    """
    from ood_seg.datasets.label_maps import checked_label_map
    from ood_seg.labels import ANOMALY, IGNORE, KNOWN

    pairs = dict(map(_label_pair, texts))
    return {IGNORE: IGNORE, **checked_label_map(pairs, frozenset((KNOWN, ANOMALY, IGNORE)))}


@contextmanager
def progress_bar(
    title: str = "score maps", unit: str = "maps"
) -> Iterator[Callable[[int, int], None]]:
    """Show the progress; yields the function to call with maps or images done and in all."""
    with progress_tasks() as add:
        yield add(title, None, unit).update


def _label_pair(text: str) -> tuple[str, str]:
    raw, mark, label = text.partition(":")
    if not mark:
        raise ValueError(f"--label-map: expected FROM:TO such as 2:1, got {text!r}")
    return raw, label
