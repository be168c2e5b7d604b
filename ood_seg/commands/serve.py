"""Serve a model over HTTP: images in; JSON, images or scores out; and a page to try it on."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands._segmentor_arguments import add_segmentor_arguments, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg serve`."""
    parser.add_argument(
        "model",
        help="a model of `ood-seg export-onnx` (.onnx; needs no torch), or a config: its path or "
        "the name of a shipped one. A config is Python code and is executed",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--calibration", metavar="FILE", help="of a config; an .onnx has its own")
    add_segmentor_arguments(model, parser.add_argument_group("decision"))
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1, this machine only; there is no "
        "authentication, so use a proxy in front of any other address)",
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any free port")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-batch", type=int, default=4, help="images of one run (default 4)")
    limits.add_argument(
        "--max-queue", type=int, default=32, help="waiting requests; others get 429 (default 32)"
    )
    limits.add_argument("--max-megabytes", type=float, default=32, help="of a request (default 32)")
    limits.add_argument("--max-megapixels", type=float, default=16, help="of an image (default 16)")
    limits.add_argument("--timeout", type=float, default=60, help="seconds (default 60)")


def run(args: argparse.Namespace) -> int:
    """Load the model, run it once, and serve until Ctrl-C."""
    from ood_seg.serving.app import ServiceLimits
    from ood_seg.serving.server import serve

    for name in ("max_batch", "max_queue", "max_megabytes", "max_megapixels", "timeout"):
        if not getattr(args, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {vars(args)[name]}")
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535, got {args.port}")
    limits = ServiceLimits(
        max_bytes=int(args.max_megabytes * 2**20),
        max_pixels=int(args.max_megapixels * 1e6),
        max_batch=args.max_batch,
        max_queue=args.max_queue,
        timeout=args.timeout,
    )
    exported = args.model.endswith(".onnx")
    args.onnx, args.config = (args.model, None) if exported else (None, args.model)
    name = Path(args.model).stem
    serve(load(args), name=name, limits=limits, host=args.host, port=args.port)
    return 0
