"""`infer` on a ROS bag: its arguments, and the call that writes a new bag."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ood_seg.commands._segmentor_arguments import load
from ood_seg.commands._summary import Outcome
from ood_seg.perception.io.shards import Shard

_FOR_BAGS = ("topic", "namespace", "outputs", "no_copy")
_NOT_FOR_BAGS = (
    "json",
    "video_out",
    "video_rate",
    "save",
    "save_scores",
    "existing",
    "retry_failed",
    "score_range",
    "style",
)


def add_bag_arguments(bags: argparse._ArgumentGroup) -> None:
    """Add what applies only to ROS bags."""
    from ood_seg.ros.messages import TOPICS

    bags.add_argument("--topic", help="of the images; required if a bag has several cameras")
    bags.add_argument(
        "--namespace", help="prefix of the result topics (default /ood_seg); one per camera"
    )
    bags.add_argument(
        "--outputs",
        nargs="+",
        choices=TOPICS,
        metavar="TOPIC",
        help=f"result topics: {', '.join(TOPICS)} (default: all)",
    )
    bags.add_argument(
        "--no-copy", action="store_true", help="do not copy the recording to the new bag"
    )


def check_options(args: argparse.Namespace, *, bag: bool) -> None:
    """Raise a ValueError for options that do not apply to bags, or only to bags."""
    if bag and (len(args.sources) > 1 or args.out is None):
        raise ValueError("a bag must be the only source, and needs --out BAG for the new bag")
    for name in _NOT_FOR_BAGS if bag else _FOR_BAGS:
        value = getattr(args, name)
        if value in (None, False, ["auto"], "refuse"):
            continue
        option = value.replace("skip", "skip-existing") if name == "existing" else name
        option = f"--{option.replace('_', '-')}"
        if bag:
            raise ValueError(f"{option} does not apply to ROS bags, whose results are topics")
        raise ValueError(f"{option} applies only to ROS bags, and {args.sources[0]} is not one")


def annotate_bag(args: argparse.Namespace, shard: Shard, stages: dict[str, Any]) -> Outcome:
    """Analyse the images of a bag, and write a bag with the results."""
    from ood_seg.perception.run.infer import sigterm_as_interrupt
    from ood_seg.progress import progress
    from ood_seg.ros.bags import NAMESPACE, annotate
    from ood_seg.ros.messages import TOPICS

    if shard.world > 1:
        raise ValueError(f"{shard.world} processes cannot write one bag; start one")
    with sigterm_as_interrupt(), progress("infer") as advance:
        summary = annotate(
            args.sources[0],
            args.out,
            load(args),
            topic=args.topic,
            namespace=args.namespace or NAMESPACE,
            outputs=args.outputs or tuple(TOPICS),
            copy=not args.no_copy,
            model=args.onnx or args.config,
            progress=lambda _done, _total: advance(),
            batch_size=args.batch_size,
            **stages,
        )
    for failure in summary.failures:
        print(f"ood-seg infer: {failure}", file=sys.stderr)
    good = summary.frames - len(summary.failures)
    print(f"{good} of {summary.frames} images of {summary.topic} written to {args.out}")
    counts = {"images": summary.frames, "failed": len(summary.failures)}
    return Outcome(int(bool(summary.failures)), outputs=[args.out], numbers=counts)
