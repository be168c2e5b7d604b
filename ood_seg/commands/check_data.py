"""Check the datasets on disk: what is present, what is missing or wrong, and the remedy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands._model_arguments import CONFIG_HELP, add_named
from ood_seg.commands._summary import Outcome
from ood_seg.progress import progress_tasks

if TYPE_CHECKING:
    from ood_seg.datasets.setup.checks import Report


USAGE = "[ROOT]"
PAGE = "docs/data.md"
EXAMPLES = (
    "ood-seg check-data",
    "ood-seg check-data /data/sets --quick",
    "ood-seg check-data --config energy_fcn-erfnet_cityscapes",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg check-data`."""
    parser.add_argument(
        "root", nargs="?", help="folder of all datasets (default: $OOD_SEG_DATA, else ./data)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="check names, numbers and sizes only: read no pixels"
    )
    help = f"check its datasets instead: {CONFIG_HELP}"
    add_named(parser, "config", metavar="CONFIG", help=help)


def run(args: argparse.Namespace) -> Outcome:
    """Check and print; return 1 if a dataset that is present, or in the config, has problems."""
    from ood_seg.datasets.setup.terminal import print_reports

    if args.config:
        if args.root:
            raise ValueError("give ROOT or --config, not both; a config holds its own paths")
        reports = _check_config(args.config, quick=args.quick)
        print_reports(reports, title=f"datasets of {args.config}")
        return _outcome(reports, any(report.state != "found" for report in reports))
    root = data_root(args.root)
    reports = _check_root(root, quick=args.quick)
    print_reports(reports, title=f"datasets in {root}")
    return _outcome(reports, any(report.state == "problems" for report in reports))


def _outcome(reports: Sequence[Report], wrong: bool) -> Outcome:
    return Outcome(code=int(wrong), numbers={report.name: report.state for report in reports})


def data_root(given: str | None) -> Path:
    """Return the folder of all datasets.

    Raises:
        FileNotFoundError: it does not exist.
    """
    root = Path(given or os.environ.get("OOD_SEG_DATA") or "data").expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"data folder {root} not found; give it as `ood-seg check-data FOLDER`, or set "
            "OOD_SEG_DATA to the folder that holds cityscapes, road_anomaly, ..."
        )
    return root


def _check_root(root: Path, *, quick: bool) -> list[Report]:
    from ood_seg.datasets.setup.catalog import PUBLISHED_DATASETS
    from ood_seg.datasets.setup.checks import check_in_root, check_weights
    from ood_seg.datasets.setup.terminal import tracker

    with progress_tasks() as shown:
        reports = [
            check_in_root(dataset, root, quick=quick, track=tracker(shown, dataset.name))
            for dataset in PUBLISHED_DATASETS
        ]
    return [*reports, check_weights(root, quick=quick)]


def _check_config(name: str, *, quick: bool) -> list[Report]:
    from ood_seg.config_files import load_config
    from ood_seg.datasets.setup.config_datasets import check_config_datasets
    from ood_seg.datasets.setup.terminal import tracker

    cfg = load_config(name)
    with progress_tasks() as shown:
        reports = list(check_config_datasets(cfg, quick=quick, track=tracker(shown, "checking")))
    if not reports:
        raise ValueError(f"config {name} names no dataset in its train, val and test dataloaders")
    return reports
