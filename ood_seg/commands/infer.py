"""Anomalies in pictures, videos, cameras, bags: overlays, scores, masks, boxed objects as JSON."""

from __future__ import annotations

import argparse
import math
import os
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _infer_bags, _infer_models, _infer_run
from ood_seg.commands._arguments import CONFIG_HELP
from ood_seg.perception.io.shards import Shard, shard_of

if TYPE_CHECKING:
    from ood_seg.perception.io.frame_source import FrameSource

_RATE_OF_PICTURES = 25.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg infer`."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="picture, folder (searched deeply), 'pattern*.png', .txt with a path on each line, "
        "video, camera number, URL or ROS bag",
    )
    _infer_models.add_arguments(parser, config_help=CONFIG_HELP)
    _add_output_arguments(parser.add_argument_group("output"))
    video = parser.add_argument_group("video")
    video.add_argument(
        "--temporal",
        nargs="?",
        type=float,
        const=0.5,
        metavar="WEIGHT",
        help="average the scores over time, with this weight of the new frame (default 0.5)",
    )
    video.add_argument(
        "--motion", action="store_true", help="the same, along the motion (optical flow)"
    )
    video.add_argument("--track", action="store_true", help="follow objects and number them")
    _infer_bags.add_arguments(parser.add_argument_group("ROS bags"))
    running = parser.add_argument_group("running")
    running.add_argument("--batch-size", type=int, default=1, help="images at once (default 1)")
    running.add_argument(
        "--max-pixels", type=float, default=1e8, help="larger pictures are refused (default 1e8)"
    )
    again = running.add_mutually_exclusive_group()
    again.add_argument("--overwrite", action="store_true", help="replace existing files")
    again.add_argument("--skip-existing", action="store_true", help="go on where a run stopped")
    again.add_argument(
        "--resume",
        action="store_true",
        help="go on where a run of one or several processes stopped or was killed: leave out what "
        "has a line in --json (by default OUT/results.jsonl)",
    )


def _add_output_arguments(output: argparse._ArgumentGroup) -> None:
    from ood_seg.perception.io.sinks import ENDINGS

    output.add_argument("--out", metavar="DIR", help="folder of the files; of a bag, the new bag")
    output.add_argument(
        "--save",
        nargs="+",
        choices=ENDINGS,
        metavar="KIND",
        help=f"files of each picture: {', '.join(ENDINGS)} (default: anomaly, a figure; "
        "overlay for videos and --onnx)",
    )
    output.add_argument("--json", metavar="FILE.jsonl", help="a line for each picture: its objects")
    output.add_argument(
        "--video-out",
        metavar="FILE.mp4",
        help="overlays as a video of the same rate and size (pictures: 25 a second)",
    )
    output.add_argument(
        "--score-range",
        nargs="+",
        default=["auto"],
        metavar="LOW HIGH",
        help="scores at the two ends of the colour bar, or `auto` (default): the 1st and 99th "
        "percentile of each image, which do not compare between images",
    )
    output.add_argument(
        "--save-scores",
        nargs="?",
        const="npy",
        choices=("npy", "png"),
        help="also write the scores: float32 .npy (default), or 16-bit PNG of --score-range in "
        "OUT/scores",
    )


def run(args: argparse.Namespace) -> int:
    """Analyse as the arguments say; 1 if any image could not be used, 130 after Ctrl-C.

    One of several processes ends with 0 all the same; the lines of `--json` name its failures.
    SIGTERM, which schedulers and containers send, is taken as Ctrl-C.
    """
    with _infer_run.ended_by_sigterm():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    limits = parse_range(args.score_range)
    if args.out is None and (args.save or args.save_scores):
        raise ValueError("--save and --save-scores write files; give their folder: --out DIR")
    if not (args.out or args.json or args.video_out):
        raise ValueError("nothing to write; give --out DIR, --json FILE.jsonl or --video-out FILE")
    shard = shard_of(os.environ)
    bag = _infer_bags.only_bag(args)
    if bag is not None:
        return _infer_bags.annotate_bag(args, bag, shard)
    from ood_seg.commands import _infer_files

    if args.video_out and (args.resume or args.skip_existing):
        raise ValueError(
            "--video-out: --resume and --skip-existing leave out what is done, and the video would "
            "have the rest alone; write all anew (--overwrite), or no video"
        )
    if shard.world > 1 and args.video_out:
        raise ValueError("--video-out: several processes cannot write one video; start only one")
    folder = _infer_files.open_folder(args, limits)
    lines = _infer_files.open_lines(args, shard)
    selection = _infer_files.Selection(
        shard,
        lines.done if lines else (),
        folder,
        overwrite=args.overwrite or args.resume,
        skip=args.skip_existing,
    )
    try:
        with _open(args, selection) as source:
            total = source.count
            selection.check()
            if total == 0:
                print("nothing to do: every picture is done")
                return 0
            return _analyse(args, source, total, shard, folder, lines, limits)
    finally:
        if lines is not None:
            lines.close()


def _open(args: argparse.Namespace, selection: Any) -> FrameSource:
    from ood_seg.perception.io.frames import open_frames

    given = args.sources[0] if len(args.sources) == 1 else args.sources
    if not 1 <= args.max_pixels < math.inf:
        raise ValueError(f"--max-pixels: expected a number from 1 on, got {args.max_pixels}")
    return open_frames(given, wanted=selection, skip=args.out, max_pixels=int(args.max_pixels))


def _analyse(
    args: argparse.Namespace,
    source: FrameSource,
    total: int | None,
    shard: Shard,
    folder: Any,
    lines: Any,
    limits: tuple[float, float] | None,
) -> int:
    from ood_seg.perception.io.sinks import VideoSink
    from ood_seg.perception.io.video_io import VideoWriter
    from ood_seg.perception.run.stream import analyse

    sinks = [] if folder is None else [folder]
    if args.video_out:
        rate = source.rate or _RATE_OF_PICTURES
        writer = VideoWriter(args.video_out, rate, overwrite=args.overwrite)
        sinks.append(VideoSink(writer, limits=limits))
    segmentor = _infer_models.build(args, shard)
    _infer_models.check_outputs(args, folder.kinds if folder else (), segmentor)
    _infer_models.say_threshold(segmentor)
    outcomes = analyse(segmentor, source, **_infer_models.stages(args), batch_size=args.batch_size)
    tally = _infer_run.write_all(outcomes, sinks, lines, total=total)
    place = ", ".join(filter(None, (args.out, args.json, args.video_out)))
    of_all = "" if total is None else f" of {total}"
    part = f"process {shard.rank} of {shard.world}: " if shard.world > 1 else ""
    kept = "; interrupted, the rest was not done" if tally.interrupted else ""
    dropped = f"; {outcomes.dropped} frames dropped for newer ones" if outcomes.dropped else ""
    print(f"{part}{tally.written}{of_all} images written to {place}{kept}{dropped}")
    if shard.world > 1 and not tally.interrupted:
        # torchrun and srun end all processes when one fails: a broken picture must not do that.
        return 0
    return tally.exit_code


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
