"""Fit the scores that need statistics of known data, all of them in one pass over it."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import add_model
from ood_seg.commands._parser import add_renamed
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/scores.md"
EXAMPLES = (
    "ood-seg fit energy_fcn-erfnet_cityscapes --file erfnet.stats",
    "ood-seg fit energy_fcn-erfnet_cityscapes --file few.stats --methods sml knn",
    "ood-seg fit my_config.py my.pth --file my.stats --option knn.bank_size=20000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg fit`."""
    add_model(parser)
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="file of the statistics to write (required)"
    )
    add_renamed(parser, "--out", "--file", type=Path)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["all"],
        metavar="NAME",
        help="default: all that the config has layers and outliers for",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        default=(),
        metavar="NAME",
        help="activations for the methods that can read others than the classifier's input",
    )
    parser.add_argument(
        "--option",
        nargs="+",
        default=[],
        action="extend",
        metavar="METHOD.NAME=VALUE",
        help="options of a method, such as knn.bank_size=20000; they override the config's "
        "fit_options",
    )
    _add_data(parser)
    _arguments.add_run(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        nargs="+",
        default=["fit"],
        metavar="NAME",
        help="`fit`, the config's fit_dataloader (default); `train`, its training scenes, "
        "augmented; or names of its test sets with class labels",
    )
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="a seeded choice of N images of each of --data"
    )
    parser.add_argument(
        "--pasted",
        type=int,
        default=200,
        metavar="N",
        help="scenes with pasted objects, of which the objects alone count, from which methods of "
        "several layers learn how to weight them (default: %(default)s; else none)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Fit as the arguments say; write the file and print what it is based on.

    Returns 1 if a method could not be fitted, or an image had to be left out.
    """
    if args.file is None:
        raise ValueError("give the file of the statistics: --file FILE")
    options = parse_options(args.option)
    cfg = _arguments.load_config(args)
    from mmengine.dist import is_main_process

    from ood_seg.engine.fitting import fit
    from ood_seg.engine.runner import is_first_process
    from ood_seg.io.files import claimed, require_writable_file
    from ood_seg.reports.tables import print_lines

    require_writable_file(args.file)
    names = ("methods", "layers", "data", "num_images", "pasted")
    given = {name: getattr(args, name) for name in names}
    with claimed(args.file) if is_first_process(cfg) else contextlib.nullcontext():
        found = fit(cfg, args.checkpoint, options=options, **given)
        if is_main_process():
            found.file.save(args.file)
    if is_main_process():
        print_lines(f"written to {args.file}", *found.summary())
    code = 1 if found.failures or found.unreadable else 0
    return Outcome(code, outputs=[args.file], numbers={"methods": list(found.statistics)})


def parse_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by method, from `METHOD.NAME=VALUE`; values as JSON, other text as it is.

    Raises:
        ValueError: a text has another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, sign, value = text.partition("=")
        method, dot, name = place.partition(".")
        if not (sign and dot and method and name):
            raise ValueError(f"--option: expected METHOD.NAME=VALUE, got {text!r}")
        try:
            found.setdefault(method, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            found.setdefault(method, {})[name] = value
    return found
