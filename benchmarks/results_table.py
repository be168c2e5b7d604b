"""Markdown table of several `metrics.json` files of `ood-seg test`, grouped by config.

    python benchmarks/results_table.py work_dirs/*/metrics.json

Runs of one config with different seeds form one row: the mean and, for two or more, the sample
standard deviation.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

from ood_seg.reports.tables import Table

ANOMALY = ("auroc", "ap", "fpr95")


def cells(reports: list[dict]) -> dict[str, str]:
    """One cell per set: mean (± standard deviation) over the reports."""
    row = {}
    for name, first in reports[0]["sets"].items():
        keys = ["mIoU"] if "mIoU" in first["metrics"] else [f"anomaly/{key}" for key in ANOMALY]
        values = [[report["sets"][name]["metrics"][key] for report in reports] for key in keys]
        row[name] = " / ".join(summary(series) for series in values)
    return row


def summary(series: list[float]) -> str:
    """Mean, and the sample standard deviation if there are several values."""
    mean = f"{statistics.mean(series):.1f}"
    return mean if len(series) < 2 else f"{mean} ± {statistics.stdev(series):.1f}"


def main() -> None:
    """Read the files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="metrics.json files")
    groups = defaultdict(list)
    for path in parser.parse_args().files:
        report = json.loads(path.read_text())
        groups[Path(report["config"]).stem].append(report)
    rows = {name: cells(reports) for name, reports in groups.items()}
    sets = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [
        (name, len(groups[name]), *(row.get(key, "") for key in sets)) for name, row in rows.items()
    ]
    print(Table("", ("config", "runs", *sets), lines).to_markdown(), end="")


if __name__ == "__main__":
    main()
