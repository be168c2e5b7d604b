"""Measure which classes a pre-trained model sees in pasted outliers; writes JSON and a chart."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments, _pretrained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg estimate-outlier-prior`."""
    _pretrained.add_arguments(parser, num_images=10_000)
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="PRIOR",
        help="other priors for table and chart: JSON files, or `cityscapes-coco-wrn38`",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and write as the arguments say."""
    from ood_seg.outlier_priors import find_prior, write_prior

    compared = {str(name): find_prior(name) for name in args.compare}
    cfg, model, loader, seed = _pretrained.load(args)
    path = _pretrained.output_path(args, cfg, "outlier_prior.json")
    classes = loader.dataset.metainfo["classes"]
    for name, prior in compared.items():
        prior.check_classes(classes, origin=name)
    from ood_seg.engine.outlier_prior import measure_outlier_prior

    prior = measure_outlier_prior(model, loader, cfg, num_images=args.num_images, seed=seed)
    if _arguments.is_main_process():
        write_prior(path, prior)
        from ood_seg.reports.plots import prior_figure
        from ood_seg.visualization import save_figure

        shown = {"measured": prior.prior, **{k: p.prior for k, p in compared.items()}}
        picture = save_figure(prior_figure(shown, classes), path.with_suffix(".png"))
        print_table(shown, classes, note=f"written to {path} and {picture.name}")
    return 0


def print_table(priors: dict[str, tuple[float, ...]], classes: list[str], *, note: str) -> None:
    """Print the priors in percent, classes in falling order of the first."""
    from rich.console import Console
    from rich.table import Table

    table = Table("class", title="Outlier prior (%)")
    for name in priors:
        table.add_column(name, justify="right")
    first = next(iter(priors.values()))
    for index in sorted(range(len(classes)), key=lambda index: -first[index]):
        table.add_row(classes[index], *(f"{100 * prior[index]:.2f}" for prior in priors.values()))
    console = Console()
    console.print(table)
    console.print(note, markup=False, highlight=False, soft_wrap=True)
