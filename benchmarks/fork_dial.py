"""What a larger anomaly branch costs and finds: milliseconds against AP and FPR95.

    python benchmarks/fork_dial.py "with closed-set terms=work_dirs/a/test/metrics.json" ... \
        --out dial.png [--repeat 15] [--size 512x1024]

Each argument is NAME=FILE: `metrics.json` of `ood-seg test` under the name of its curve. The config
that the file names is built with its branch and without; both are called in turns on one image,
with one thread, and the milliseconds are the difference of their medians. Runs of one config and
name are averaged. Prints the table and writes the figure: a column for each network, a row each for
AP and FPR95.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

SETS = {"road_anomaly": "Road Anomaly", "fs_static": "Fishyscapes Static"}
METRICS = {"ap": "AP", "fpr95": "FPR95"}


def main() -> None:
    """Measure the forks, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    parser.add_argument("--repeat", type=int, default=15, help="turns (default: %(default)s)")
    parser.add_argument("--size", default="512x1024", help="HxW of the image")
    args = parser.parse_args()
    shape = tuple(map(int, args.size.split("x")))

    import torch

    from ood_seg.startup import prepare

    torch.set_num_threads(1)
    prepare()
    points, files = defaultdict(list), {}
    for run in args.runs:
        name, _, file = run.partition("=")
        content = json.loads(Path(file).read_text())
        config = Path(content["config"]).stem  # each run may have kept a copy of its own
        files[config] = content["config"]
        points[name, config].append(content["sets"])
    costs = {}
    for config, file in files.items():
        print(f"timing {config}", file=sys.stderr, flush=True)
        costs[config] = cost(file, shape, args.repeat)
    rows = [row(name, config, sets, costs[config]) for (name, config), sets in points.items()]
    print_table(rows)
    draw(rows, args.out)


def cost(config: str, shape: tuple[int, int], repeat: int) -> dict[str, Any]:
    """Network and fork of a config, and milliseconds without and with its branch."""
    from mmengine.config import Config

    from ood_seg.apis import AnomalyInferencer

    cfg = Config.fromfile(config)
    plain = copy.deepcopy(cfg)
    fork = plain.model.pop("anomaly_branch").fork
    plain.model.pop("distillation", None)
    plain.model.pop("freeze", None)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    models = [AnomalyInferencer(one, cfg.load_from, calibration=False) for one in (plain, cfg)]
    times: list[list[float]] = [[], []]
    for turn in range(repeat + 1):
        for model, found in zip(models, times, strict=True):
            start = time.process_time()
            model.predict([image])
            if turn:  # the first call allocates
                found.append(1000 * (time.process_time() - start))
    medians = [statistics.median(found) for found in times]
    network = f"{cfg.model.backbone.type}"
    return {"network": network, "fork": ", ".join(fork), "plain": medians[0], "ms": medians[1]}


def row(name: str, config: str, sets: list[dict], one: dict[str, Any]) -> dict[str, Any]:
    """Means over the runs of a curve's point."""
    values = {
        (key, metric): statistics.mean(run[key]["metrics"][f"anomaly/{metric}"] for run in sets)
        for key in SETS
        for metric in METRICS
    }
    return {"name": name, "config": config, "runs": len(sets), "values": values, **one}


def print_table(rows: list[dict[str, Any]]) -> None:
    """One line for each point."""
    from ood_seg.reports.tables import Table

    header = ["config", "terms", "runs", *SETS.values(), "extra ms", "extra %"]
    lines = [
        [
            one["config"],
            one["name"],
            one["runs"],
            *(
                " / ".join(f"{one['values'][key, metric]:.1f}" for metric in METRICS)
                for key in SETS
            ),
            f"{one['ms'] - one['plain']:.0f}",
            f"{100 * (one['ms'] / one['plain'] - 1):.0f}",
        ]
        for one in rows
    ]
    print(Table("", header, lines).to_markdown(), end="")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Both metrics against the extra milliseconds; colour: dataset, line: name of the curve."""
    from matplotlib.figure import Figure

    from ood_seg.visualization import save_figure

    networks = list(dict.fromkeys(one["network"] for one in rows))
    names = list(dict.fromkeys(one["name"] for one in rows))
    figure = Figure(figsize=(4.6 * len(networks), 6.4), layout="constrained")
    axes = figure.subplots(len(METRICS), len(networks), squeeze=False, sharey="row", sharex="col")
    for column, network in enumerate(networks):
        for place, (metric, title) in enumerate(METRICS.items()):
            panel = axes[place][column]
            for colour, (key, label) in enumerate(SETS.items()):
                for style, name in zip(("-o", "--s", ":^"), names, strict=False):
                    curve = sorted(
                        (one["ms"] - one["plain"], one["values"][key, metric])
                        for one in rows
                        if (one["network"], one["name"]) == (network, name)
                    )
                    label_all = f"{label}, {name}"
                    panel.plot(
                        *zip(*curve, strict=True), style, color=f"C{colour}", label=label_all
                    )
            panel.set_ylabel(f"{title} (%)" if column == 0 else "")
            panel.grid(alpha=0.3)
        axes[0][column].set_title(network)
        axes[-1][column].set_xlabel("extra milliseconds, one thread")
        axes[-1][column].set_xlim(left=0)
    axes[0][0].legend(fontsize=7, frameon=False)
    save_figure(figure, path, dpi=110)


if __name__ == "__main__":
    main()
