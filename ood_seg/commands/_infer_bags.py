"""`infer` on a ROS bag: results go into a new bag."""

from __future__ import annotations

import argparse
import sqlite3

from ood_seg.commands import _infer_models
from ood_seg.perception.io.shards import Shard

_NOT_FOR_BAGS = (
    "json",
    "video_out",
    "save",
    "save_scores",
    "resume",
    "skip_existing",
    "overwrite",
    "score_range",
)
_FOR_BAGS = ("topic", "namespace", "outputs", "no_copy")


def add_arguments(bags: argparse._ArgumentGroup) -> None:
    """Add what is for bags alone."""
    from ood_seg.ros.messages import TOPICS

    bags.add_argument("--topic", help="of the images; needed where a bag has several cameras")
    bags.add_argument(
        "--namespace",
        help="what the result topics begin with (default /ood_seg); one for each camera",
    )
    bags.add_argument(
        "--outputs",
        nargs="+",
        choices=TOPICS,
        metavar="TOPIC",
        help=f"result topics: {', '.join(TOPICS)} (default: all)",
    )
    bags.add_argument(
        "--no-copy", action="store_true", help="the new bag has the results without the recording"
    )


def only_bag(args: argparse.Namespace) -> str | None:
    """The bag, if the source is one.

    Raises:
        ValueError: a bag with something that does not go with it, or options of bags without one.
    """
    from ood_seg.ros.bags import is_bag

    bags = [source for source in args.sources if is_bag(source)]
    if not bags:
        for name in _FOR_BAGS:
            if getattr(args, name):
                raise ValueError(f"{_option(name)} is for ROS bags, which {args.sources[0]} is not")
        return None
    if len(args.sources) > 1 or args.out is None:
        raise ValueError("a bag is analysed alone and gives a bag; give it --out BAG")
    for name in _NOT_FOR_BAGS:
        if getattr(args, name) not in (None, False, ["auto"]):
            raise ValueError(f"{_option(name)} is not for bags: the results are topics")
    return bags[0]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def annotate_bag(args: argparse.Namespace, bag: str, shard: Shard) -> int:
    """Bag in, bag out.

    Raises:
        ValueError: several processes, or what the model, source or target refuses.
    """
    if shard.world > 1:
        raise ValueError("one process writes a bag; start only one")
    from ood_seg.commands._infer_run import progress
    from ood_seg.ros.bags import NAMESPACE, annotate
    from ood_seg.ros.messages import TOPICS

    segmentor = _infer_models.build(args, shard)
    _infer_models.say_threshold(segmentor)
    with progress(None) as (advance, say):
        try:
            summary = annotate(
                bag,
                args.out,
                segmentor,
                topic=args.topic,
                namespace=args.namespace or NAMESPACE,
                outputs=args.outputs or tuple(TOPICS),
                copy=not args.no_copy,
                model=args.onnx or args.config,
                progress=lambda _done, _total: advance(),
                batch_size=args.batch_size,
                **_infer_models.stages(args),
            )
        except FileNotFoundError:
            raise
        except (OSError, sqlite3.Error) as error:  # such as a full disk
            raise ValueError(f"cannot write {args.out}: {error}") from error
        for failure in summary.failures:
            say(f"{failure.name}: {failure.message}")
    good = summary.frames - len(summary.failures)
    print(f"{good} of {summary.frames} images of {summary.topic} written to {args.out}")
    return 1 if summary.failures else 0
