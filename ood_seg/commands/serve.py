"""Serve a model over HTTP: images in; JSON, pictures or scores out; and a page to try it on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _infer_models
from ood_seg.perception.io.shards import Shard

if TYPE_CHECKING:
    from ood_seg.perception.run.segmentor import Segmentor
    from ood_seg.serving.app import ServiceLimits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg serve`."""
    parser.add_argument(
        "model",
        help="a model of `ood-seg export-onnx` (.onnx; needs no torch), or a config: its path or "
        "the name of a shipped one. A config is Python code and is executed",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--calibration", metavar="FILE", help="of a config; an .onnx holds its own")
    _infer_models.add_shared_arguments(model, parser.add_argument_group("decision"))
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1, this machine alone; there is no "
        "authentication, so put a proxy before any other)",
    )
    parser.add_argument("--port", type=int, default=8000, help="default 8000; 0: any free one")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-batch", type=int, default=4, help="images of one run (default 4)")
    limits.add_argument(
        "--max-queue", type=int, default=32, help="requests that may wait; others get 429"
    )
    limits.add_argument("--max-megabytes", type=float, default=32, help="of a request (default 32)")
    limits.add_argument("--max-megapixels", type=float, default=16, help="of an image (default 16)")
    limits.add_argument("--timeout", type=float, default=60, help="seconds (default 60)")


def run(args: argparse.Namespace) -> int:
    """Load the model, run it once, and serve until Ctrl-C."""
    import uvicorn

    from ood_seg.serving.app import create_app

    limits = _limits(args)
    segmentor = _load(args)
    _warm_up(segmentor)
    app = create_app(segmentor, name=Path(args.model).stem, limits=limits)
    uvicorn.run(app, host=args.host, port=args.port, log_level="info", access_log=False)
    return 0


def _limits(args: argparse.Namespace) -> ServiceLimits:
    """The limits, checked before the model is loaded."""
    from ood_seg.serving.app import ServiceLimits

    for name in ("max_batch", "max_queue", "max_megabytes", "max_megapixels", "timeout"):
        if not getattr(args, name) > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {vars(args)[name]}")
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must be from 0 to 65535, got {args.port}")
    return ServiceLimits(
        max_bytes=int(args.max_megabytes * 2**20),
        max_pixels=int(args.max_megapixels * 1e6),
        max_batch=args.max_batch,
        max_queue=args.max_queue,
        timeout=args.timeout,
    )


def _load(args: argparse.Namespace) -> Segmentor:
    """The model, by the kind of file."""
    args.onnx, args.config = args.model, None
    if not args.model.endswith(".onnx"):
        args.onnx, args.config = None, args.model
    return _infer_models.build(args, Shard())


def _warm_up(segmentor: Segmentor) -> None:
    """Run the model once, so that a model that cannot run fails here and not in a request."""
    import numpy as np

    from ood_seg.perception.core.decision import check_prediction

    (prediction,) = segmentor.predict([np.zeros((64, 128, 3), np.uint8)])
    check_prediction(prediction, (64, 128), "a black image, to try the model")
