"""Fit anomaly probabilities and thresholds on saved score maps; writes the file `infer` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands import _map_arguments
from ood_seg.commands._parser import add_renamed

USAGE = "SCORES GROUND_TRUTH"
PAGE = "docs/evaluation.md"
EXAMPLES = (
    "ood-seg calibrate maps/fs_static masks/ --file calibration.json",
    "ood-seg calibrate maps/road_anomaly masks/ --label-map 0:0 2:1 --file calibration.json",
    "ood-seg calibrate maps/mine masks/ --points 'fpr 1%' 'tpr 95%' --file calibration.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg calibrate`."""
    _map_arguments.add_maps(parser)
    parser.add_argument("--file", type=Path, metavar="FILE", help="JSON to write (required)")
    add_renamed(parser, "--out", "--file", type=Path)
    parser.add_argument(
        "--score",
        metavar="NAME",
        help="type of the score in the model's config, such as Energy; `infer` refuses another "
        "(default: that in provenance.json of the maps, which `ood-seg test --out` writes)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="the model's file; its hash is kept (default: that in provenance.json of the maps)",
    )
    parser.add_argument(
        "--allow-other-model",
        action="store_true",
        help="calibrate maps although their provenance.json names another score or checkpoint",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    _add_fit(parser.add_argument_group("fit"))


def _add_fit(fit: argparse._ArgumentGroup) -> None:
    """Add the curve, and what is read from it."""
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
        help="of the two halves on which the fit is tested (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate as the arguments say; print the operating points."""
    from ood_seg.evaluation.folders import calibrate_folders
    from ood_seg.evaluation.image_tasks import warnings_as_notes
    from ood_seg.io.files import claimed, require_writable_file
    from ood_seg.reports.terminal import print_calibration

    if args.file is None:
        raise ValueError("give the file of the calibration: --file FILE")
    require_writable_file(args.file)
    if args.file.exists() and not args.overwrite:
        raise ValueError(f"{args.file} exists; use --overwrite to replace it, or another --file")
    with (
        claimed(args.file),
        warnings_as_notes() as notes,
        _map_arguments.progress_bar() as on_image,
    ):
        calibration = calibrate_folders(
            _map_arguments.map_folders(args),
            score=args.score,
            checkpoint=args.checkpoint,
            allow_other_model=args.allow_other_model,
            min_area=args.min_area,
            workers=args.workers,
            on_image=on_image,
            data_set=_map_arguments.data_set_name(args),
            method=args.fit,
            points=args.points,
            assumed_prior=args.prior,
            seed=args.seed,
            model=args.method,
        )
        calibration.save(args.file)
    print_calibration(calibration, notes=notes, written=args.file)
    return 0
