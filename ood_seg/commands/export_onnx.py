"""Export a model to ONNX, with pre- and post-processing inside, and check it against torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _arguments

if TYPE_CHECKING:
    from ood_seg.export.exporting import Export


MOST_PICTURES = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg export-onnx`."""
    _arguments.add_config(parser)
    parser.add_argument("checkpoint", help="checkpoint file, or - for the config's load_from")
    parser.add_argument("out", metavar="OUT.onnx", help="side-cars are written beside it")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="of `ood-seg calibrate`: `anomaly` becomes a probability, `score` is the raw score, "
        "and the operating points go into the file",
    )
    parser.add_argument("--layout", choices=["nhwc", "nchw"], default="nhwc", help="of the input")
    parser.add_argument("--colour", choices=["bgr", "rgb"], default="bgr", help="of the input")
    parser.add_argument(
        "--input",
        choices=["uint8", "float32"],
        default="uint8",
        help="type of the input, 0..255 (float32 is for DeepStream)",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="size that the network sees, or `dynamic` for the image's own; by default what the "
        "config's test pipeline does. Images of any size go in and come out in each case",
    )
    parser.add_argument("--logits", action="store_true", help="give the logits as well")
    reduced = parser.add_mutually_exclusive_group()
    reduced.add_argument("--fp16", action="store_true", help="network in half precision")
    reduced.add_argument("--int8", action="store_true", help="network quantised to 8 bits")
    parser.add_argument(
        "--calibration-images",
        metavar="PATH",
        nargs="+",
        default=[],
        help="pictures of known classes, or folders of them, for --int8; not those evaluated on. "
        f"Of a larger folder {MOST_PICTURES} are taken, evenly spaced",
    )
    parser.add_argument("--opset", type=int, default=18, help="by default 18")
    _arguments.add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Export as the arguments say and tell what the check saw."""
    from ood_seg.startup import prepare

    prepare()
    from rich.console import Console

    from ood_seg.config_files import load_config
    from ood_seg.export.exporting import Options, export_onnx

    options = Options(
        layout=args.layout,
        colour=args.colour,
        input_type=args.input,
        size=args.size,
        logits=args.logits,
        precision="fp16" if args.fp16 else "int8" if args.int8 else "fp32",
        calibration_images=calibration_pictures(args.calibration_images),
        opset=args.opset,
    )
    cfg = load_config(args.config, args.cfg_options)
    console = Console(stderr=True)
    export = export_onnx(
        cfg,
        None if args.checkpoint == "-" else args.checkpoint,
        args.out,
        options,
        calibration=args.calibration,
        report=lambda line: console.print(line, highlight=False),
    )
    _tell(export)
    return 0


def calibration_pictures(sources: Sequence[str | Path]) -> tuple[Path, ...]:
    """The named pictures, and an even choice of those in each named folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder without pictures.
    """
    from ood_seg.io.images import IMAGE_SUFFIXES

    found = []
    for source in map(Path, sources):
        if not source.exists():
            raise FileNotFoundError(f"calibration images: {source} does not exist")
        inside = [source] if source.is_file() else sorted(source.rglob("*"))
        inside = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
        if not inside:
            raise ValueError(f"calibration images: no pictures in {source}")
        count = min(len(inside), MOST_PICTURES)
        found += [inside[i * len(inside) // count] for i in range(count)]
    return tuple(found)


def _tell(export: Export) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    card = export.card
    console.print(f"[bold]{export.files[0]}[/bold], {export.files[0].stat().st_size / 1e6:.1f} MB")
    console.print(f"input {card.input_type} {card.layout} {card.colour}; {', '.join(card.outputs)}")
    for title, found in (
        ("ONNX Runtime and the same graph in torch:", export.graph),
        ("ONNX Runtime and the config's test pipeline:", export.pipeline),
        (f"{card.precision} and fp32 (labels and scores may differ):", export.reduced),
    ):
        if found:
            console.print(title)
        for agreement in found:
            console.print(f"  {agreement}")
    console.print("beside it: " + ", ".join(path.name for path in export.files[1:]))
