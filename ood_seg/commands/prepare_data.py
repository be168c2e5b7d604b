"""Put the archives that a dataset's owner publishes into the layout that configs read."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path

from ood_seg.commands._summary import Outcome
from ood_seg.progress import progress_tasks

USAGE = "DATASET [SOURCE...]"
PAGE = "docs/data.md"
EXAMPLES = (
    "ood-seg prepare-data --list",
    "ood-seg prepare-data cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip",
    "ood-seg prepare-data smiyc_road_anomaly21 dataset_AnomalyTrack.zip --dry-run",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg prepare-data`."""
    parser.add_argument("name", nargs="?", help="dataset, see --list")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="archives (zip, tar, tar.gz, tar.xz) or unpacked folders, in any order; without any, "
        "the folder of the dataset is completed",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder of the dataset (default: its place below $OOD_SEG_DATA, else below ./data; of "
        "an image-level dataset below $OOD_SEG_CACHE, else below ./data_cache)",
    )
    parser.add_argument(
        "--list", action="store_true", help="list the datasets: archives, sizes, sources"
    )
    parser.add_argument("--dry-run", action="store_true", help="check and report, write nothing")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="accept a part of the dataset (missing or spare files)",
    )
    parser.add_argument(
        "--pebal",
        action="store_true",
        help="coco: also list the images that PEBAL pastes from (no Cityscapes-like object in "
        "them, both sides at least 480 pixels)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="read no pixels in the check of the result"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Prepare a dataset; return 1 if something is wrong with the files, which is then printed."""
    from ood_seg.datasets.setup import terminal
    from ood_seg.datasets.setup.catalog import COCO, PUBLISHED_DATASETS, dataset_named
    from ood_seg.datasets.setup.checks import check_folder
    from ood_seg.datasets.setup.preparing import make_plan, run_plan

    if args.list:
        terminal.print_catalog(PUBLISHED_DATASETS)
        return Outcome()
    dataset = dataset_named(args.name)
    if args.pebal and dataset is not COCO:
        raise ValueError(f"--pebal is an option of the dataset coco, got {dataset.name}")
    root = dataset.place(Path(os.environ.get("OOD_SEG_DATA") or "data"))
    folder = Path(args.out or root / dataset.folders[0]).expanduser()
    if not args.sources and not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist and no archive was given. {dataset.name}: {dataset.remedy}"
        )
    sources = [Path(source).expanduser() for source in args.sources]
    with ExitStack() as stack, progress_tasks() as shown:
        options = {"pebal": True} if args.pebal else {}
        plan = make_plan(dataset, sources, folder, stack, **options)
        terminal.print_plan(plan, dataset, accept_part=args.partial)
        if plan.obstacles(accept_part=args.partial):
            return Outcome(code=1)
        if args.dry_run:
            return Outcome()
        notes, failures = run_plan(plan, track=terminal.tracker(shown, "writing"))
        terminal.print_lines(*notes)
        track = terminal.tracker(shown, dataset.name)
        report = check_folder(
            dataset, folder, accept_part=args.partial, quick=args.quick, track=track
        )
    report.problems = failures + report.problems
    terminal.print_reports([report], title=f"{dataset.name} in {folder}")
    numbers = {"state": report.state, "problems": len(report.problems)}
    return Outcome(int(report.state != "found"), outputs=[folder], numbers=numbers)
