"""Evaluate saved score maps of any origin; writes evaluation.json and reports."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ood_seg.commands import _map_arguments
from ood_seg.commands._evaluation_arguments import add_metrics, evaluation_settings
from ood_seg.commands._refine_arguments import add_refinement

USAGE = "SCORES GROUND_TRUTH"
PAGE = "docs/evaluation.md"
EXAMPLES = (
    'ood-seg evaluate scores/ labels/ --method mine --dataset "Road Anomaly"',
    "ood-seg evaluate maps/road_anomaly masks/ --label-map 0:0 2:1 --images frames/",
    "ood-seg evaluate scores/ labels/ --protocol pebal --compare other_scores/",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg evaluate`."""
    _map_arguments.add_maps(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results, and of partial ones from which an interrupted evaluation "
        "resumes (default: work_dirs/evaluate/METHOD_DATASET)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images, for the report and --refine"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="DIR",
        help="score maps of another method on the same images: paired bootstrap comparison",
    )
    parser.add_argument("--compare-method", metavar="NAME", help="name of the other method")
    add_refinement(parser)
    add_metrics(parser.add_argument_group("metrics"))
    closed = parser.add_argument_group("closed set")
    closed.add_argument(
        "--predicted-labels",
        type=Path,
        metavar="DIR",
        help="predicted classes 0..18 (.png), also for --refine",
    )
    closed.add_argument(
        "--known-labels", type=Path, metavar="DIR", help="true classes 0..18, 255 (.png)"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate as the arguments say; print the table and write the reports."""
    from ood_seg.evaluation.folders import evaluate_folders
    from ood_seg.io.files import claimed
    from ood_seg.io.json_files import finite, plain
    from ood_seg.reports import write_reports
    from ood_seg.reports.terminal import print_evaluation

    settings = evaluation_settings(args)
    if args.refine:
        from ood_seg.refinement import Refinement

        name = Refinement.of(args.refine).score_name(settings.method)
        settings = replace(settings, method=name)
    folder = args.out or Path("work_dirs/evaluate") / f"{settings.method}_{settings.data_set}"
    names = ("images", "compare", "compare_method", "predicted_labels", "known_labels", "workers")
    folders = _map_arguments.map_folders(args)
    with claimed(folder / "evaluation.json"):  # an impossible --out fails here
        with _map_arguments.progress_bar() as on_image:
            evaluation = evaluate_folders(
                folders,
                settings,
                partial=folder / "partial",
                on_image=on_image,
                refine=args.refine,
                **{name: getattr(args, name) for name in names},
            )
        content = evaluation.content
        written = write_reports(finite(plain(content)), folder)
    if evaluation.reused:
        images = f"{evaluation.reused} of {content['num_images']} images"
        content["notes"].append(f"{images} reused from an earlier run")
    print_evaluation(content, written=list(written.values()))
    return 0
