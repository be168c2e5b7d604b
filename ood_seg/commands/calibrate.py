"""Fit anomaly probabilities and thresholds on saved score maps; writes the file `infer` reads."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _saved_maps

if TYPE_CHECKING:
    import numpy as np

    from ood_seg.calibration import Calibration
    from ood_seg.evaluation.matching import MapPair, Matches
    from ood_seg.evaluation.saved_maps import MapReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg calibrate`."""
    _saved_maps.add_map_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument(
        "--score",
        required=True,
        metavar="NAME",
        help="type of the score in the model's config, such as Energy; `infer` refuses another",
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="the model's file; its hash is kept"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    _add_fit_arguments(parser.add_argument_group("fit"))


def _add_fit_arguments(fit: argparse._ArgumentGroup) -> None:
    """The curve, and what is read off it."""
    fit.add_argument(
        "--fit",
        default="platt",
        choices=("platt", "temperature", "isotonic"),
        help="curve of the probability (default: platt)",
    )
    fit.add_argument(
        "--prior",
        type=float,
        metavar="SHARE",
        help="share of anomalous pixels to be expected in use (default: as in these images)",
    )
    fit.add_argument(
        "--points",
        nargs="+",
        metavar="NAME",
        help="operating points: 'fpr 5%%', 'tpr 95%%', 'best f1', 'conformal fpr 5%%', 'conformal "
        "tpr 95%%' (default: fpr 1%% and 5%%, tpr 95%%, best f1 and, with 19 images or more, "
        "conformal fpr 5%%); the first is what `infer` uses",
    )
    fit.add_argument(
        "--min-area",
        type=int,
        default=50,
        metavar="PIXELS",
        help="smallest false alarm that counts, in pixels (default: %(default)s)",
    )
    fit.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the halves that judge the fit (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate as the arguments say; print the operating points."""
    from ood_seg.evaluation.image_tasks import warnings_as_notes

    if args.out.exists() and not args.overwrite:
        raise ValueError(f"{args.out} exists; use --overwrite to replace it, or another --out")
    matches = _saved_maps.matched_maps(args)
    with warnings_as_notes() as notes:
        calibration = _calibrated(args, _saved_maps.map_reader(args), matches)
    calibration.save(args.out)
    _print(calibration, [*notes, *matches.notes])
    print(f"written: {args.out}")
    return 0


def _calibrated(args: argparse.Namespace, reader: MapReader, matches: Matches) -> Calibration:
    from rich.console import Console
    from rich.progress import track

    from ood_seg.calibration import calibrate, with_false_alarms
    from ood_seg.evaluation.image_tasks import for_each
    from ood_seg.metrics import ScoreHistogram

    def read(pair: MapPair) -> tuple[np.ndarray, np.ndarray]:
        return reader.read(pair.scores, pair.truth)

    def counted(pair: MapPair) -> ScoreHistogram:
        return ScoreHistogram.from_scores(*read(pair))

    def pairs(what: str) -> Iterable[MapPair]:
        return track(matches.pairs, description=what, console=Console(stderr=True))

    fitted = calibrate(
        list(for_each(counted, pairs("scores"), workers=args.workers)),
        score=args.score,
        data_set=_saved_maps.names(args)["data_set"],
        method=args.fit,
        points=args.points,
        assumed_prior=args.prior,
        seed=args.seed,
        model=args.method,
        checkpoint_sha256=_hash(args.checkpoint),
    )
    maps = for_each(read, pairs("false alarms"), workers=args.workers)
    return with_false_alarms(fitted, maps, min_area=args.min_area)


def _hash(checkpoint: Path | None) -> str | None:
    from ood_seg.io.provenance import file_sha256

    if checkpoint is None:
        return None
    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint {checkpoint} does not exist")
    return file_sha256(checkpoint)


def _print(calibration: Calibration, notes: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{calibration.score} on {calibration.data_set}")
    for column in ("operating point", "threshold", "TPR %", "FPR %", "false alarms / image"):
        table.add_column(column, justify="left" if column == "operating point" else "right")
    for point in calibration.operating_points.values():
        rates = (f"{100 * point.tpr:.2f}", f"{100 * point.fpr:.2f}")
        alarms = f"{point.false_alarms_per_image:.2f}"
        table.add_row(point.name, f"{point.threshold:.6g}", *rates, alarms)
    console = Console()
    console.print(table)
    judged = "held-out halves" if calibration.ece_held_out else "the same images"
    console.print(
        f"{calibration.num_images} images; expected calibration error "
        f"{calibration.ece_before:.4f} before, {calibration.ece_after:.4f} after (on {judged})",
        soft_wrap=True,
    )
    for point in calibration.operating_points.values():
        if point.guarantee:
            console.print(f"{point.name}: {point.guarantee}", soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
