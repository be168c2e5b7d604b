"""Report the energies of known and pasted pixels under a pre-trained model, and margins."""

from __future__ import annotations

import argparse

from ood_seg.commands import _arguments
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/finetuning.md"
EXAMPLES = (
    "ood-seg suggest-margins energy-oe_fcn-erfnet_300it_street-coco",
    "ood-seg suggest-margins my_balanced.py my.pth --num-images 50 --file margins.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg suggest-margins`."""
    _arguments.add_pretrained(parser, num_images=200)
    _arguments.add_run(parser, one_process=True)


def run(args: argparse.Namespace) -> Outcome:
    """Measure as the arguments say; write JSON and chart, print the tables."""
    cfg = _arguments.load_config(args)
    from ood_seg.engine.pretrained import report_margins
    from ood_seg.io.json_files import write_json
    from ood_seg.reports.plots import energy_figure
    from ood_seg.reports.tables import print_table
    from ood_seg.reports.training import energies_table, equal_bins, margins_table
    from ood_seg.visualization import save_figure

    path = _arguments.json_path(args, cfg, "margins.json")
    report = report_margins(cfg, args.checkpoint, num_images=args.num_images)
    lines = {name: (pair.margin_in, pair.margin_out) for name, pair in report.margins.items()}
    figure = energy_figure(*equal_bins(report.histogram), lines)
    chart = save_figure(figure, path.with_suffix(".png"))
    write_json(path, report.content())
    print_table(energies_table(report.known, report.outliers))
    print_table(margins_table(report.margins), f"written to {path} and {chart.name}")
    margins = {name: {"margin_in": low, "margin_out": high} for name, (low, high) in lines.items()}
    return Outcome(outputs=[path, chart], numbers=margins)
