"""Measure which classes a pre-trained model predicts on pasted outliers; write JSON and chart."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/finetuning.md"
EXAMPLES = (
    "ood-seg estimate-outlier-prior balanced-energy_fcn-erfnet_300it_street-coco --num-images 100",
    "ood-seg estimate-outlier-prior my_balanced.py my.pth --compare cityscapes-coco-wrn38",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg estimate-outlier-prior`."""
    _arguments.add_pretrained(parser, num_images=10_000)
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="PRIOR",
        help="other priors for table and chart: JSON files, or `cityscapes-coco-wrn38`",
    )
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Measure as the arguments say; write JSON and chart, print the table."""
    cfg = _arguments.load_config(args)
    from mmengine.dist import is_main_process

    from ood_seg.engine.pretrained import estimate_outlier_prior
    from ood_seg.outlier_priors import find_prior, write_prior
    from ood_seg.reports.plots import prior_figure
    from ood_seg.reports.tables import print_table
    from ood_seg.reports.training import prior_table
    from ood_seg.visualization import save_figure

    path = _arguments.json_path(args, cfg, "outlier_prior.json")
    compared = {str(name): find_prior(name) for name in args.compare}
    prior = estimate_outlier_prior(
        cfg, args.checkpoint, num_images=args.num_images, compare=compared
    )
    if is_main_process():
        write_prior(path, prior)
        shown = {"measured": prior.prior, **{name: p.prior for name, p in compared.items()}}
        chart = save_figure(prior_figure(shown, prior.classes), path.with_suffix(".png"))
        print_table(prior_table(shown, prior.classes), f"written to {path} and {chart.name}")
    return Outcome(outputs=[path], numbers={"images": args.num_images, "prior": prior.prior})
