"""Compare many scores of one model, and saved score maps, on many datasets."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import add_model
from ood_seg.commands._refine_arguments import add_refinement
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/scores.md"
EXAMPLES = (
    "ood-seg benchmark energy_fcn-erfnet_cityscapes --scores energy max-logit entropy",
    "ood-seg benchmark energy_fcn-erfnet_cityscapes --statistics erfnet.stats --out scores/",
    "ood-seg benchmark my_config.py my.pth --sets road_anomaly --maps mine=maps/",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg benchmark`."""
    add_model(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results, and of partial ones from which an interrupted run resumes "
        "(default: the work dir)",
    )
    parser.add_argument(
        "--sets", nargs="+", default=(), metavar="NAME", help="test sets (default: all with masks)"
    )
    parser.add_argument(
        "--num-images",
        type=int,
        metavar="N",
        help="only the first N images of each set (image-level: N spread evenly)",
    )
    parser.add_argument("--title", metavar="TEXT", help="of the table (default: the config's name)")
    _add_scores(parser.add_argument_group("scores"))
    add_refinement(parser)
    _add_maps(parser.add_argument_group("score maps of other methods"))
    _arguments.add_run(parser, one_process=True)


def _add_scores(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scores",
        nargs="+",
        metavar="NAME",
        help="ready-made scores, or `all` (default, unless --score or --maps is given); an unknown "
        "name lists them",
    )
    group.add_argument(
        "--score",
        nargs="+",
        default=[],
        action="extend",
        metavar="NAME=CONFIG",
        help="""any registered score as JSON: 'energy-2={"type": "Energy", "temperature": 2}'""",
    )
    group.add_argument(
        "--statistics", type=Path, metavar="FILE", help="of `ood-seg fit`, for fitted scores"
    )
    group.add_argument(
        "--smoothing",
        nargs=2,
        type=float,
        metavar=("TAPS", "SIGMA"),
        help="Gaussian smoothing as the last step of every score of the model, such as 7 1",
    )


def _add_maps(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--maps",
        nargs="+",
        default=[],
        action="extend",
        metavar="NAME=DIR",
        help="score maps at the size of the masks in DIR/SET, as `ood-seg test --out DIR` writes "
        "them, or in DIR for a single set; .npy, .npz, TIFF, PNG or EXR, with a scale.json",
    )
    group.add_argument(
        "--negate", nargs="+", default=(), metavar="NAME", help="maps with low values for anomalies"
    )
    group.add_argument(
        "--strip",
        nargs="+",
        default=(),
        metavar="PATTERN",
        help="regular expressions removed from the file names before they are paired",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Compare as the arguments say; 1 if a score requested by name, or a folder of maps, failed."""
    from ood_seg.comparison.ready_made import parse_configs, parse_names

    configs, maps = parse_configs(args.score), parse_names(args.maps, "--maps", "NAME=DIR")
    cfg = _arguments.load_config(args)
    from ood_seg.comparison import compare_scores
    from ood_seg.comparison.tables import print_benchmark
    from ood_seg.io.files import claimed

    names = ["scores", "statistics", "smoothing", "negate", "strip", "sets", "num_images", "title"]
    options = {**{name: getattr(args, name) for name in names}, "refine": args.refine}
    folder = args.out or Path(cfg.work_dir)
    with claimed(folder / "benchmark.json"):  # an impossible --out fails here
        content = compare_scores(
            cfg, args.checkpoint, configs=configs, maps=maps, folder=folder, **options
        )
    print_benchmark(content, folder)
    code = 1 if content["failures"].keys() - content["unavailable"] else 0
    scores = {name: one["scores"] for name, one in content["sets"].items()}
    return Outcome(code, outputs=[folder], numbers=scores)
