"""Arguments of `infer` for its outputs and for videos, as arguments of the functions it calls."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ood_seg.commands._run_folders import new_run_folder
from ood_seg.perception.core.overlay import STYLES
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.io.frames import is_one_video
from ood_seg.perception.io.sinks import ENDINGS

# Of the results without `--out`, each run in a folder of its own.
RUNS = Path("runs/infer")


def add_output_arguments(
    common: argparse._ActionsContainer, output: argparse._ArgumentGroup
) -> None:
    """Add what is written where.

    Args:
        common: the folder and the kinds of files.
        output: the others.
    """
    common.add_argument(
        "--out",
        metavar="DIR",
        help=f"folder of the files (default: a new {RUNS}/NUMBER); for a bag, the new bag",
    )
    common.add_argument(
        "--save",
        nargs="+",
        choices=ENDINGS,
        metavar="KIND",
        help=f"files of each image: {', '.join(ENDINGS)} (default: overlay)",
    )
    output.add_argument("--json", metavar="FILE.jsonl", help="file with a line per image")
    output.add_argument(
        "--video-out",
        metavar="FILE.mp4",
        help="overlays as a video of the same rate and size (of images: 25 per second)",
    )
    output.add_argument(
        "--video-rate",
        type=float,
        metavar="FPS",
        help="images per second of --video-out; frames keep their times, so that they are repeated "
        "or left out (default: that of the source, without leaving any out)",
    )
    output.add_argument(
        "--style",
        choices=STYLES,
        help="what overlays show: decision, the flagged pixels (default); heat, all scores "
        "(default without a threshold); classes; or side-by-side, image and decision",
    )
    output.add_argument(
        "--score-range",
        nargs="+",
        default=["auto"],
        metavar="LOW HIGH",
        help="scores at the ends of the colours, or `auto` (default): the 1st and 99th percentile "
        "of each image, which are not comparable between images; of --style heat with a "
        "calibration, probability 0 and 1",
    )
    output.add_argument(
        "--save-scores",
        nargs="?",
        const="npy",
        choices=("npy", "png"),
        help="also save the scores: float32 .npy (default), or 16-bit PNG of --score-range in "
        "OUT/scores",
    )


def add_video_arguments(video: argparse._ArgumentGroup) -> None:
    """Add what `video_stages` uses."""
    video.add_argument(
        "--temporal",
        nargs="?",
        type=float,
        const=0.5,
        metavar="WEIGHT",
        help="average the scores over time, with this weight of the new frame (default 0.5)",
    )
    video.add_argument("--motion", action="store_true", help="average along the optical flow")
    video.add_argument("--track", action="store_true", help="track objects and number them")


def video_stages(args: argparse.Namespace) -> dict[str, Any]:
    """Return temporal filter and tracker, as far as they are asked for."""
    stages: dict[str, Any] = {}
    if args.temporal is not None or args.motion:
        weight = 0.5 if args.temporal is None else args.temporal
        stages["temporal"] = TemporalFilter(weight, motion=args.motion)
    if args.track:
        stages["tracker"] = InstanceTracker()
    return stages


def files_to_save(args: argparse.Namespace) -> list[str]:
    """Return the kinds of files per image: those asked for, or the default."""
    kinds = [*(args.save or ["overlay"])]
    kinds += {"npy": ["scores"], "png": ["scores-png"]}.get(args.save_scores, [])
    kinds += ["probability", "mask"] if args.calibration not in (None, "none") else []
    return list(dict.fromkeys(kinds))


@contextlib.contextmanager
def settled_outputs(args: argparse.Namespace, *, world: int) -> Iterator[None]:
    """Give results a place: where none is given, a new folder below `RUNS`.

    A video becomes a video there, unless `--save` asks for files of its frames. Cameras and
    streams, which may never end, and bags get no place by themselves.

    Args:
        args: whose `out` or `video_out` is set.
        world: number of processes, which would need one folder.

    Raises:
        ValueError: a choice of files, or what to do about earlier results, needs the folder.
    """
    if args.out is not None or any(map(is_endless, args.sources)):
        yield
        return
    if (args.json or args.video_out) and not (args.save or args.save_scores):
        yield
        return
    if args.existing in ("skip", "resume") or world > 1:
        option = "--skip-existing" if args.existing == "skip" else "--resume"
        need = f"{world} processes" if world > 1 else option
        raise ValueError(f"{need}: give the folder of the results: --out DIR")
    with new_run_folder(RUNS) as folder:
        only_video = len(args.sources) == 1 and is_one_video(args.sources[0])
        if only_video and not (args.save or args.save_scores or args.video_out):
            args.video_out = str(folder / f"{Path(args.sources[0]).stem}.mp4")
        else:
            args.out = str(folder)
        yield


def is_endless(source: str) -> bool:
    """Whether the text names a camera or stream, judging by the text only."""
    return is_one_video(source) and (source.isdigit() or "://" in source)


def parse_range(values: Sequence[str]) -> tuple[float, float] | None:
    """Return the two numbers of `--score-range`, None for `auto`; else raise a ValueError."""
    if list(values) == ["auto"]:
        return None
    with contextlib.suppress(ValueError):
        low, high = map(float, values)
        if -math.inf < low < high < math.inf:
            return low, high
    given = " ".join(values)
    raise ValueError(f"--score-range: expected `auto` or two numbers LOW < HIGH, got {given}")
