"""Compare many scores of one model, and anyone's score maps, on many data sets."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _arguments, _benchmark_scores, _benchmark_sets
from ood_seg.commands._benchmark_sets import AnomalySet

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg benchmark`."""
    _arguments.add_model(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the results, and of partial ones from which an interrupted run goes on "
        "(default: the work dir)",
    )
    parser.add_argument(
        "--sets", nargs="+", metavar="NAME", help="only these test sets (default: all with masks)"
    )
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="the first N images of each set, for a trial"
    )
    parser.add_argument(
        "--title", metavar="TEXT", help="of the table (default: name of the config)"
    )
    _benchmark_scores.add_arguments(parser)
    _arguments.add_run(parser, one_process=True)


def run(args: argparse.Namespace) -> int:
    """Compare as the arguments say; print the table and write the results.

    Returns:
        1 if a score that was asked for by name, a folder of maps or an image failed. Of `all`
        scores, those that this model or these options do not have are left out.
    """
    from ood_seg.comparison.writing import write_benchmark

    if args.num_images is not None and args.num_images < 1:
        raise ValueError(f"--num-images must be positive, got {args.num_images}")
    chosen = _benchmark_scores.chosen_scores(args)
    maps = _benchmark_scores.chosen_maps(args, taken=chosen)
    cfg = _arguments.load_config(args)
    sets = _benchmark_sets.anomaly_sets(cfg, args.sets)
    folder = args.out or Path(cfg.work_dir)
    entrants = _benchmark_scores.Entrants(cfg, args, chosen) if chosen else None
    content = _header(cfg, args, entrants, [*chosen, *maps])
    for name, place in sets.items():
        result = _run_set(
            AnomalySet(name, place, args.num_images), folder, entrants, maps, len(sets)
        )
        for score, reason in result.pop("failures").items():
            earlier = content["failures"].get(score)
            content["failures"][score] = f"{earlier}; {reason}" if earlier else reason
        content["sets"][name] = result
    written = write_benchmark(content, folder)
    _print(content, written)
    left_out = set() if entrants is None else set(entrants.failures)
    left_out -= _benchmark_scores.asked_for(args)
    return 1 if content["failures"].keys() - left_out else 0


def _run_set(
    anomaly_set: AnomalySet,
    folder: Path,
    entrants: _benchmark_scores.Entrants | None,
    maps: Mapping[str, tuple[Path, dict[str, Any]]],
    num_sets: int,
) -> dict[str, Any]:
    """Results of one set; maps that are not all there fail by name."""
    sources, failures = [], {}
    for name, (root, options) in maps.items():
        try:
            sources.append(anomaly_set.saved_maps(name, root, options, alone=num_sets == 1))
        except (ValueError, FileNotFoundError) as error:
            failures[name] = f"{anomaly_set.name}: {error}"
    if entrants is not None:
        sources.append((entrants.source, entrants.identities))
    result = anomaly_set.run(sources, folder / "partial" / anomaly_set.name)
    result["failures"].update(failures)
    return result


def _header(
    cfg: Config,
    args: argparse.Namespace,
    entrants: _benchmark_scores.Entrants | None,
    names: Sequence[str],
) -> dict[str, Any]:
    from ood_seg.comparison.writing import SCHEMA
    from ood_seg.io.provenance import git_commit, versions
    from ood_seg.metrics.protocols import get_protocol

    protocol = get_protocol("pooled")
    return {
        "schema": SCHEMA,
        "title": args.title or Path(cfg.filename).stem,
        "config": str(cfg.filename),
        "model": None if entrants is None else entrants.facts(),
        "scores": {
            name: None if entrants is None else entrants.configs.get(name) for name in names
        },
        "smoothing": args.smoothing,
        "protocol": {"name": protocol.name, "description": protocol.description},
        "mode": "streaming",
        "seed": None if entrants is None else entrants.seed,
        "commit": git_commit(),
        "versions": versions(),
        "sets": {},
        "failures": {} if entrants is None else dict(entrants.failures),
    }


def _print(content: Mapping[str, Any], written: Sequence[Path]) -> None:
    from ood_seg.comparison.tables import benchmark_table, not_scored
    from ood_seg.reports.tables import print_table

    lines = [f"not scored: {text}" for text in not_scored(content)]
    lines += [f"note: {note}" for one in content["sets"].values() for note in one["notes"]]
    lines.append(f"written to {written[0].parent}: {', '.join(path.name for path in written)}")
    print_table(benchmark_table(content), *lines)
