"""Serve a model over HTTP: images in; JSON, images or scores out; and a page to try it on."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from ood_seg.commands._default_model import settle_model
from ood_seg.commands._model_arguments import add_model_positionals
from ood_seg.commands._segmentor_arguments import add_segmentor_arguments, load
from ood_seg.serving.limits import ServiceLimits

_LIMITS = (
    "max_batch",
    "batch_megapixels",
    "max_queue",
    "max_megabytes",
    "max_megapixels",
    "min_rate",
    "timeout",
)


USAGE = "[MODEL]"
PAGE = "docs/service.md"
EXAMPLES = (
    "ood-seg serve model.onnx",
    "ood-seg serve --config my_config.py --checkpoint my.pth --calibration calibration.json",
    "ood-seg serve model.onnx --host 0.0.0.0 --allow-host camera-7.local --port 9000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg serve`."""
    add_model_positionals(
        parser,
        *("config", "checkpoint", "onnx"),
        metavar="MODEL",
        help="an exported model (.onnx), a config with or without its checkpoint, or a checkpoint "
        "of `ood-seg train`; without it $OOD_SEG_MODEL or the last used model",
    )
    model, decision, access, limits = map(
        parser.add_argument_group, ("model", "decision", "access", "limits")
    )
    add_segmentor_arguments(parser, model, decision)
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any free port")
    access.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1, this machine only; give --token and use a "
        "proxy that encrypts in front of any other address)",
    )
    access.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which clients address the service, beside localhost and --host; "
        "'*.example.org' for a domain, '*' for any. May be repeated",
    )
    access.add_argument(
        "--token",
        default=os.environ.get("OOD_SEG_TOKEN"),
        help="demand `Authorization: Bearer TOKEN`; better in the environment variable "
        "OOD_SEG_TOKEN, where other users of the machine cannot see it",
    )
    _add_limits(limits)


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    """Add the limits; each default is that of `ServiceLimits`."""
    default = ServiceLimits()

    def add(option: str, value: float, explanation: str) -> None:
        limits.add_argument(
            option, type=type(value), default=value, help=f"{explanation} (default {value:g})"
        )

    add("--max-batch", default.max_batch, "images of one run")
    add(
        "--batch-megapixels",
        default.batch_pixels / 1e6,
        "of one run; larger images are reduced to it, and their maps enlarged",
    )
    add("--max-queue", default.max_queue, "waiting requests; others get 429")
    add("--max-megabytes", default.max_bytes / 2**20, "of a request")
    add(
        "--max-megapixels",
        default.max_pixels / 1e6,
        "of an image, and of all that are decoded at a time",
    )
    add(
        "--min-rate",
        default.min_rate / 2**10,
        "KiB per second at which clients must send and read",
    )
    add("--timeout", default.timeout, "seconds")


def run(args: argparse.Namespace) -> int:
    """Load the model, run it once, and serve until Ctrl-C or SIGTERM; 1 if the model ends."""
    from ood_seg.serving.batching import ModelStopped
    from ood_seg.serving.server import serve

    for name in _LIMITS:
        if not 0 < getattr(args, name) < math.inf:
            raise ValueError(
                f"--{name.replace('_', '-')} must be above 0 and finite, got {vars(args)[name]}"
            )
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535, got {args.port}")
    limits = ServiceLimits(
        max_bytes=int(args.max_megabytes * 2**20),
        max_pixels=math.ceil(args.max_megapixels * 1e6),
        max_batch=args.max_batch,
        batch_pixels=math.ceil(args.batch_megapixels * 1e6),
        max_queue=args.max_queue,
        min_rate=args.min_rate * 2**10,
        timeout=args.timeout,
    )
    settle_model(args)
    name = Path(args.onnx or args.config).stem
    segmentor = load(args)
    if segmentor.refinement is not None:
        segmentor.refinement.require_no_names("the service")
    try:
        serve(
            segmentor,
            name=name,
            limits=limits,
            host=args.host,
            port=args.port,
            allow_hosts=args.allow_host,
            token=args.token,
        )
    except ModelStopped as error:
        print(f"ood-seg serve: {error}", file=sys.stderr)
        return 1
    return 0
