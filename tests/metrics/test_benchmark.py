"""The benchmark runs, compares like with like, and the example in the documentation is true."""

from __future__ import annotations

import argparse
import doctest
import importlib.util
from pathlib import Path

import pytest

from ood_seg.metrics import pixel

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "metrics.py"


@pytest.fixture(scope="module")
def benchmark():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("metrics_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_methods_agree_and_fill_the_table(benchmark, capsys):
    options = {"anomalous": 0.01, "decimals": 1, "repeat": 1, "seed": 0}
    names = [name for name in benchmark.METHODS if name not in ("torchmetrics", "binned")]
    results = {
        name: benchmark.measure(argparse.Namespace(method=name, **options), 20_000)
        for name in names
    }
    for result in results.values():
        assert result["metrics"] == pytest.approx(results["sklearn"]["metrics"], abs=1e-9)
        assert result["seconds"] > 0
    for count, name in enumerate(results, 1):
        benchmark.print_row(name, dict(list(results.items())[:count]), 20_000)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == [benchmark.METHODS[n] for n in names]
    assert "yes" in rows[-1][-1]
    assert len({len(row) for row in rows}) == 1


def test_torchmetrics_agrees_where_it_is_installed(benchmark):
    pytest.importorskip("torchmetrics")
    options = {"anomalous": 0.01, "decimals": None, "repeat": 1, "seed": 0}
    metrics, expected = (
        benchmark.measure(argparse.Namespace(method=name, **options), 20_000)["metrics"]
        for name in ("torchmetrics", "sklearn")
    )
    assert metrics == pytest.approx(expected, abs=1e-3)


def test_violated_bounds_would_show(benchmark):
    assert benchmark.bounds_hold({"ap": (0.1, 0.2)}, {"ap": 0.3}).startswith("NO")


def test_example_of_the_documentation():
    outcome = doctest.testmod(pixel)
    assert outcome.attempted > 0
    assert outcome.failed == 0
