"""Find anomalies in images, videos, cameras and bags: overlays, scores, masks, objects as JSON."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

from ood_seg.commands._bag_arguments import add_bag_arguments, annotate_bag, check_options
from ood_seg.commands._default_model import settle_model
from ood_seg.commands._infer_arguments import (
    add_output_arguments,
    add_video_arguments,
    files_to_save,
    parse_range,
    settled_outputs,
    video_stages,
)
from ood_seg.commands._segmentor_arguments import add_segmentor_arguments, load
from ood_seg.commands._summary import Outcome
from ood_seg.perception.io.frames import is_bag
from ood_seg.perception.io.shards import Shard, shard_of
from ood_seg.perception.run.infer import InferenceSummary, infer

USAGE = "SOURCE..."
PAGE = "docs/inference.md"
EXAMPLES = (
    "ood-seg infer photo.jpg",
    "ood-seg infer photos/ --config energy_fcn-erfnet_cityscapes --operating-point fpr-5%",
    "ood-seg infer drive.mp4 --onnx model.onnx --video-out overlay.mp4 --temporal --track",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg infer`."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="image, folder (with subfolders), 'pattern*.png', .txt with a path per line, video, "
        "camera number, URL or ROS bag",
    )
    titles = ("output", "decision", "video", "running", "model", "ROS bags")
    output, decision, video, running, model, bags = map(parser.add_argument_group, titles)
    add_segmentor_arguments(parser, model, decision)
    add_output_arguments(parser, output)
    add_video_arguments(video)
    add_bag_arguments(bags)
    running.add_argument("--batch-size", type=int, default=1, help="images at once (default 1)")
    running.add_argument(
        "--max-pixels", type=float, default=1e8, help="larger images are refused (default 1e8)"
    )
    existing = running.add_mutually_exclusive_group()
    choice = partial(existing.add_argument, action="store_const", dest="existing", default="refuse")
    choice("--overwrite", const="overwrite", help="replace existing files")
    choice("--skip-existing", const="skip", help="leave out images whose files exist")
    choice(
        "--resume",
        const="resume",
        help="continue a run of any number of processes that has ended early: leave out images "
        "with a result or a failure in --json (by default OUT/results.jsonl) or one of its parts",
    )
    running.add_argument(
        "--retry-failed", action="store_true", help="with --resume: also images that failed"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Analyse the sources; 1 if an image could not be used, 130 after Ctrl-C or SIGTERM.

    A resumed run returns 1 as well if it leaves out images that failed before.

    One of several processes returns 0 all the same, because torchrun and srun end all processes
    when one fails; the lines of `--json` contain the failures.
    """
    shard, bag = shard_of(os.environ), any(map(is_bag, args.sources))
    check_options(args, bag=bag)
    stages = video_stages(args)
    settle_model(args)
    if bag:
        return annotate_bag(args, shard, stages)
    with settled_outputs(args, world=shard.world):
        summary = analyse(args, shard, stages)
    print(f"process {shard.rank} of {shard.world}: {summary}" if shard.world > 1 else summary)
    failed = summary.failed + summary.failed_before
    code = 130 if summary.interrupted else int(failed > 0 and shard.world == 1)
    counts = {name: getattr(summary, name) for name in ("written", "failed", "failed_before")}
    return Outcome(code, summary.outputs, {"images": summary.total, **counts})


def analyse(args: argparse.Namespace, shard: Shard, stages: dict[str, Any]) -> InferenceSummary:
    """Analyse the sources, whose outputs are settled."""
    return infer(
        args.sources[0] if len(args.sources) == 1 else args.sources,
        partial(load, args, shard),
        out=args.out,
        save=files_to_save(args),
        json=args.json,
        video_out=args.video_out,
        video_rate=args.video_rate,
        limits=parse_range(args.score_range),
        style=args.style,
        existing=args.existing,
        retry_failed=args.retry_failed,
        batch_size=args.batch_size,
        max_pixels=args.max_pixels,
        shard=shard,
        **stages,
    )
