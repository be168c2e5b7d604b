"""Predict an image or a folder: labels and anomaly heat map in one picture each."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _infer_files
from ood_seg.commands._runner import CONFIG_HELP

if TYPE_CHECKING:
    from ood_seg.apis.inferencer import AnomalyInferencer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg infer`."""
    parser.add_argument("images", metavar="IMAGE_OR_FOLDER", help="folders are searched deeply")
    parser.add_argument("--config", required=True, help=CONFIG_HELP)
    parser.add_argument("--checkpoint", help="checkpoint file; by default the config's load_from")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the pictures")
    parser.add_argument(
        "--score-range",
        nargs="+",
        default=["auto"],
        metavar="LOW HIGH",
        help="scores at the two ends of the colour bar, or `auto` (default): the 1st and 99th "
        "percentile of each image, which do not compare between images",
    )
    parser.add_argument(
        "--save-scores", action="store_true", help="also write the scores as float32 .npy"
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="also write the anomaly probability as float32 .npy and a mask as .png (255 where an "
        "anomaly is flagged), by this file of `ood-seg calibrate`",
    )
    parser.add_argument(
        "--operating-point",
        metavar="NAME",
        help="threshold of the mask, such as 'fpr 5%%'; by default the calibration's first",
    )
    parser.add_argument("--device", help="by default cuda where there is one, else cpu")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace existing files")
    again.add_argument("--skip-existing", action="store_true", help="go on where a run stopped")


def run(args: argparse.Namespace) -> int:
    """Predict as the arguments say; 1 if any image could not be read."""
    limits = parse_range(args.score_range)
    jobs = _infer_files.plan(
        Path(args.images),
        Path(args.out),
        save_scores=args.save_scores,
        calibrated=args.calibration is not None,
    )
    jobs = _infer_files.without_done(jobs, overwrite=args.overwrite, skip=args.skip_existing)
    if not jobs:
        print("nothing to do: every picture exists")
        return 0
    from ood_seg.commands._startup import prepare

    prepare()
    from ood_seg.apis.inferencer import AnomalyInferencer

    inferencer = AnomalyInferencer(
        args.config,
        args.checkpoint,
        args.device,
        calibration=args.calibration,
        operating_point=args.operating_point,
    )
    if inferencer.threshold is not None:
        point = inferencer.operating_point
        print(f"flagged at {point!r}: scores from {inferencer.threshold:.6g} on")
    failures = predict_all(inferencer, jobs, limits)
    print(f"{len(jobs) - len(failures)} of {len(jobs)} images written to {args.out}")
    for message in failures:
        print(f"ood-seg infer: {message}", file=sys.stderr)
    return 1 if failures else 0


def parse_range(values: list[str]) -> tuple[float, float] | None:
    """Return the two numbers of `--score-range`, None for `auto`.

    Raises:
        ValueError: anything else.
    """
    if values == ["auto"]:
        return None
    try:
        low, high = (float(value) for value in values)
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"--score-range: expected `auto` or two numbers LOW < HIGH, got {' '.join(values)}"
        )
    return low, high


def predict_all(
    inferencer: AnomalyInferencer,
    jobs: list[_infer_files.Job],
    limits: tuple[float, float] | None,
) -> list[str]:
    """Predict every image; return one message for each that failed and go on after it."""
    from rich.console import Console
    from rich.progress import track

    failures = []
    for job in track(jobs, description="infer", console=Console(stderr=True)):
        try:
            _predict(inferencer, job, limits)
        except (ValueError, FileNotFoundError) as error:
            text = str(error)
            failures.append(text if str(job.image) in text else f"{job.image}: {text}")
    return failures


def _predict(
    inferencer: AnomalyInferencer, job: _infer_files.Job, limits: tuple[float, float] | None
) -> None:
    from ood_seg.perception.image_input import read_image
    from ood_seg.perception.types import Frame
    from ood_seg.visualization import prediction_figure, save_figure

    pixels = read_image(job.image)
    (prediction,) = inferencer.predict([pixels])
    result = inferencer.result(Frame(pixels, str(job.image)), prediction)
    low, high = limits or (None, None)
    figure = prediction_figure(
        pixels[..., ::-1],
        result.labels,
        result.anomaly,
        classes=inferencer.palette.classes,
        palette=inferencer.palette.colours,
        vmin=low,
        vmax=high,
    )
    if job.scores is not None:
        _infer_files.save_array(job.scores, result.anomaly)
    if job.probability is not None:
        _infer_files.save_array(job.probability, result.probability)
        _infer_files.save_mask(job.mask, result.mask)
    # Last, because its existence says that the image is done.
    save_figure(figure, job.picture)
