"""`--refine`, which several commands share."""

from __future__ import annotations

import argparse


def add_refinement(parser: argparse._ActionsContainer) -> None:
    """Add `--refine`; `args.refine` is a list of texts for `Refinement.of`, or None."""
    parser.add_argument(
        "--refine",
        action="append",
        metavar="NAME[=SOURCE][,KEY=VALUE]",
        help="refine the score maps by objects; may be repeated, in this order: `segments` and "
        "`slivers` (no other model), `masks=DIR`, `boxes=FILE.json,weight=W`, "
        "`saliency=DIR,weight=W`; masks and saliency also of a MODEL.onnx; or JSON such as "
        """'{"type": "segments"}'. Refined maps are another score: calibrate them""",
    )
