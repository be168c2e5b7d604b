"""The result of a test run: one table for people, one JSON file for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _test_sets
from ood_seg.io.provenance import checkpoint_sha256, git_commit, versions

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

_TITLES = {"auroc": "AUROC", "ap": "AP", "fpr95": "FPR95"}
Rows = dict[str, dict[str, float]]


def by_set(results: Mapping[str, float], names: Sequence[str]) -> Rows:
    """Sort flat results (`NAME/metric`) into one row per test set.

    With a single set, keys that do not begin with its name belong to it.
    """
    rows: Rows = {name: {} for name in names}
    for key, value in results.items():
        name, _, metric = key.partition("/")
        if name in rows and metric:
            rows[name][metric] = value
        elif len(names) == 1:
            rows[names[0]][key] = value
    return rows


def columns(rows: Rows) -> dict[str, str]:
    """Return the metrics of all rows in order of appearance, with their titles.

    A title is the last part of the name, unless two metrics share it.
    """
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    last = [metric.rpartition("/")[2] for metric in metrics]
    return {
        metric: _TITLES.get(short, short) if last.count(short) == 1 else metric
        for metric, short in zip(metrics, last, strict=True)
    }


def print_table(rows: Rows, *, note: str = "") -> None:
    """Print the results, one test set per row; numbers as the metrics give them (percent)."""
    from ood_seg.metrics.formatting import ABSENT
    from ood_seg.reports import tables

    titles = columns(rows)
    cells = [
        (name, *(f"{row[key]:.2f}" if key in row else ABSENT for key in titles))
        for name, row in rows.items()
    ]
    tables.print_table(tables.Table("Results (%)", ("set", *titles.values()), cells), note)


def describe(
    cfg: Config,
    runner: Runner,
    rows: Rows,
    *,
    counts: Mapping[str, int],
    modes: Mapping[str, str],
    tta: bool,
) -> dict[str, Any]:
    """Collect the results and all that is needed to get them again."""
    sets = {}
    for name, (loader, evaluator) in _test_sets.named_sets(cfg).items():
        dataset = loader["dataset"]
        sets[name] = {
            "metrics": rows.get(name, {}),
            "images": counts.get(name),
            "dataset": dataset.get("type"),
            "data_root": dataset.get("data_root"),
            "evaluator": evaluator,
            "protocol": protocol_of(evaluator),
            "mode": modes.get(name),
        }
    checkpoint = str(cfg.load_from)
    return {
        "sets": sets,
        "config": cfg.filename,
        "checkpoint": checkpoint,
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "test_time_augmentation": tta,
        "seed": runner.seed,
        "git_commit": git_commit(),
        "versions": versions(),
    }


def rules(content: Mapping[str, Any]) -> str:
    """Say by which protocol and in which mode the anomaly metrics of all sets were computed."""
    found = {
        f"protocol {entry['protocol']}; mode {entry['mode']}"
        for entry in content["sets"].values()
        if entry["protocol"]
    }
    return "\n".join(sorted(found))


def protocol_of(evaluator: Any) -> str | None:
    """Return by which rules the anomaly metrics of an evaluator count; None without any."""
    from ood_seg.metrics.protocols import get_protocol

    for metric in _test_sets.metrics_of(evaluator):
        if metric.get("type") == "AnomalyMetric":
            protocol = get_protocol(metric.get("protocol", "pooled"))
            return f"{protocol.name}: {protocol.description}"
    return None
