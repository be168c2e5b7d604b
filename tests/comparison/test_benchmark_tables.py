"""The table and the files of a benchmark, from a content made by hand."""

import csv
import json

import numpy as np
import pytest

from ood_seg.comparison.tables import benchmark_table
from ood_seg.comparison.writing import write_benchmark


def result(auroc, ap, fpr95, *, seconds=None, memory=None):
    values = {"auroc": auroc, "ap": ap, "fpr95": fpr95}
    return {
        "images": 4,
        "metrics": {k: {"value": v, "bounds": [v, v]} for k, v in values.items()},
        "best_f1_threshold": 1.0,
        "seconds_per_image": seconds,
        "memory": memory,
        "curves": {
            "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.9, 1.0]},
            "pr": {"recall": [0.0, 1.0], "precision": [0.8, 0.2]},
        },
    }


def content(**changes):
    shared = {"forward": 2.0, "logits": 0.5, "images": 4}
    one = {"images": 4, "pixels": {"known": 90, "anomalous": 10, "ignored": 0}, "notes": []}
    return {
        "schema": "ood_seg.benchmark/1",
        "title": "net_a",
        "scores": {"energy": {"type": "Energy"}, "maps": None, "broken": None},
        "protocol": {"name": "pooled"},
        "mode": "streaming",
        "seed": 3,
        "commit": None,
        "failures": {"broken": "x: it broke"},
        "sets": {
            "x": {
                **one,
                "shared": shared,
                "scores": {
                    "energy": result(0.9, 0.5, 0.2, seconds=0.1, memory=2**21),
                    "maps": result(0.8, 0.6, 0.2),
                },
            },
            "y": {
                **one,
                "shared": None,
                "scores": {"energy": result(0.7, 0.4, float("nan"), seconds=0.3, memory=2**20)},
            },
        },
    } | changes


def test_rows_costs_and_best_values():
    table = benchmark_table(content())
    assert table.header[:4] == ("score", "x\nAUROC ↑", "x\nAP ↑", "x\nFPR95 ↓")
    assert table.header[-2:] == ("ms/image", "MiB")
    assert table.rows == [
        ("energy", "90.00", "50.00", "20.00", "70.00", "40.00", "undefined", "200", "2"),
        ("maps", "80.00", "60.00", "20.00", "-", "-", "-", "-", "-"),
        ("broken", *["-"] * 8),
    ]
    # Both tie in FPR95; a score alone on a set is not the best of it.
    assert table.best == {(0, 1), (1, 2), (0, 3), (1, 3)}
    assert "500 ms for the forward pass and 125 ms for the logits" in table.note


def test_no_sentence_on_a_pass_that_nobody_shared():
    sets = content()["sets"]
    table = benchmark_table(content(sets={"y": sets["y"]}))
    assert "forward" not in table.note


def test_a_set_on_which_every_score_failed(tmp_path):
    sets = content()["sets"]
    failed = {**sets["x"], "scores": {}, "pixels": None}
    written = write_benchmark(content(sets={**sets, "x": failed}), tmp_path)
    assert "| energy | - | - | - | 70.00 |" in written[1].read_text()


def test_files(tmp_path):
    written = write_benchmark(content(), tmp_path / "out")
    assert [path.name for path in written] == [
        f"benchmark.{end}" for end in ("json", "md", "csv", "tex", "png")
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in written
    )
    loaded = json.loads(written[0].read_text())
    assert loaded["sets"]["y"]["scores"]["energy"]["metrics"]["fpr95"]["value"] is None
    markdown = written[1].read_text()
    assert "| energy | **90.00** | 50.00 |" in markdown
    assert "- broken: x: it broke" in markdown
    rows = list(csv.DictReader(written[2].open()))
    assert len(rows) == 9
    assert rows[0]["data_set"] == "x"
    assert float(rows[0]["value"]) == 0.9
    assert np.isnan(float(rows[-1]["value"]))
    latex = written[3].read_text()
    assert r"energy & \textbf{90.00} & 50.00" in latex
    assert r"net\_a" in latex
    pytest.importorskip("PIL")
    from PIL import Image

    assert Image.open(written[4]).size[0] > 500
