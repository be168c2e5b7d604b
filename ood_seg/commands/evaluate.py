"""Evaluate saved score maps of any origin, one method or several; writes reports and JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands import _map_arguments
from ood_seg.commands._evaluation_arguments import add_metrics, evaluation_settings
from ood_seg.commands._refine_arguments import add_refinement
from ood_seg.commands._summary import Outcome

if TYPE_CHECKING:
    from ood_seg.evaluation.folders import MapFolders

USAGE = "[SCORES] GROUND_TRUTH"
PAGE = "docs/evaluation.md"
EXAMPLES = (
    'ood-seg evaluate scores/ labels/ --method mine --dataset "Road Anomaly"',
    "ood-seg evaluate maps/road_anomaly masks/ --label-map 0:0 2:1 --images frames/",
    "ood-seg evaluate labels/ --protocol pebal --maps mine=scores/ theirs=other_scores/",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg evaluate`."""
    _map_arguments.add_maps(parser, several=True)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results, and of partial ones from which an interrupted evaluation "
        "resumes (default: work_dirs/evaluate/METHOD_DATASET, of the first method)",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images, for the report and --refine"
    )
    _add_methods(parser.add_argument_group("several methods"))
    add_refinement(parser)
    add_metrics(parser.add_argument_group("metrics"))
    closed = parser.add_argument_group("closed set")
    closed.add_argument(
        "--predicted-labels",
        nargs="+",
        metavar="[NAME=]DIR",
        help="predicted classes 0..18 (.png), also for --refine; NAME=DIR for a method of its own "
        "classes",
    )
    closed.add_argument(
        "--known-labels", type=Path, metavar="DIR", help="true classes 0..18, 255 (.png)"
    )


def _add_methods(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--maps",
        nargs="+",
        action="extend",
        default=[],
        type=_named_folder,
        metavar="NAME=FOLDER",
        help="score maps of further methods on the same images, or of all methods where SCORES is "
        "left out; each is in every table, curve and file",
    )
    group.add_argument(
        "--reference",
        metavar="NAME",
        help="method that the others are compared with, by paired bootstrap (default: the first)",
    )
    group.add_argument(
        "--compare", type=Path, metavar="DIR", help="deprecated: --maps NAME=DIR does the same"
    )
    group.add_argument(
        "--compare-method", metavar="NAME", help="deprecated: the name of --compare DIR"
    )


def _named_folder(text: str) -> tuple[str, Path]:
    name, mark, folder = text.partition("=")
    if not (name and mark and folder):
        raise argparse.ArgumentTypeError(
            f"expected NAME=FOLDER such as knn=maps/knn, got {text!r}; SCORES and GROUND_TRUTH "
            "stand before --maps"
        )
    return name, Path(folder)


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate as the arguments say; print the tables and write the reports."""
    from ood_seg.evaluation.methods import all_contents, evaluate_methods
    from ood_seg.io.files import claimed
    from ood_seg.io.json_files import finite, plain
    from ood_seg.reports import write_reports
    from ood_seg.reports.terminal import print_evaluation

    settings, methods = evaluation_settings(args), _methods(args)
    folder = args.out or Path("work_dirs/evaluate") / f"{next(iter(methods))}_{settings.data_set}"
    same = ("images", "known_labels", "workers", "reference", "refine")
    with claimed(folder / "evaluation.json"):  # an impossible --out fails here
        with _map_arguments.progress_bar() as on_image:
            evaluation = evaluate_methods(
                methods,
                settings,
                partial=folder / "partial",
                predicted_labels=_predicted_labels(args.predicted_labels, list(methods)),
                on_image=on_image,
                **{name: getattr(args, name) for name in same},
            )
        content = evaluation.content
        written = write_reports(finite(plain(content)), folder)
    if evaluation.reused:
        maps = sum(one["num_images"] for one in all_contents(content))
        kind = "score maps" if len(methods) > 1 else "images"
        for one in all_contents(content):  # the sum of all methods, so a note on each of them
            one["notes"].append(f"{evaluation.reused} of {maps} {kind} reused from an earlier run")
    print_evaluation(content, written=list(written.values()))
    metrics = {
        name: {key: value["value"] for key, value in one["metrics"].items()}
        for name, one in zip(methods, all_contents(content), strict=True)
    }
    return Outcome(outputs=list(written.values()), numbers=metrics)


def _methods(args: argparse.Namespace) -> dict[str, MapFolders]:
    """The folders of each method by its name."""
    from ood_seg.evaluation.methods import free_name

    named: list[tuple[str, Path]] = []
    if args.scores is not None:
        named.append((_name_of_scores(args), args.scores))
    elif args.method or args.refine:
        option = "--method names" if args.method else "--refine refines"
        raise ValueError(f"{option} the maps of SCORES, which is not given beside --maps")
    named += args.maps
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"methods need names of their own, but {', '.join(map(repr, twice))} is given twice; "
            "--method names SCORES, --maps NAME=FOLDER the others"
        )
    if args.compare is not None:
        print(
            "ood-seg evaluate: --compare will be removed in the next version; --maps NAME=FOLDER "
            "does the same for any number of methods",
            file=sys.stderr,
        )
        name = args.compare_method or args.compare.resolve().name
        named.append((free_name(name, dict(named)), args.compare))
    if not named:
        raise ValueError(
            "there are no score maps: give SCORES before GROUND_TRUTH, or --maps NAME=FOLDER"
        )
    return {name: _map_arguments.map_folders(args, folder) for name, folder in named}


def _name_of_scores(args: argparse.Namespace) -> str:
    name = args.method or args.scores.resolve().name
    if not args.refine:
        return name
    from ood_seg.refinement import Refinement

    return Refinement.of(args.refine).score_name(name)


def _predicted_labels(given: list[str] | None, methods: list[str]) -> Path | dict[str, Path] | None:
    """The folder for all methods, or the folders by method."""
    named: dict[str, Path] = {}
    for_all: list[Path] = []
    for text in given or ():
        name, mark, folder = text.partition("=")
        if mark and name in methods:
            named[name] = Path(folder)
        else:
            for_all.append(Path(text))
    if len(for_all) > 1:
        raise ValueError(
            "--predicted-labels: one folder for all methods, or NAME=DIR for each; got "
            f"{' and '.join(map(str, for_all))}; there are the methods {', '.join(methods)}"
        )
    if for_all and named:
        return {**dict.fromkeys(methods, for_all[0]), **named}
    return for_all[0] if for_all else named or None
