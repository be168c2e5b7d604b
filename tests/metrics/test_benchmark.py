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
    options = {"pixels": 20_000, "anomalous": 0.01, "decimals": 1, "repeats": 1, "seed": 0}
    results = {
        name: benchmark.measure(argparse.Namespace(method=name, **options))
        for name in benchmark.METHODS
    }
    for result in results.values():
        assert result["metrics"] == pytest.approx(results["sklearn"]["metrics"], abs=1e-9)
        assert result["seconds"] > 0
    benchmark.print_table(results)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == list(benchmark.METHODS.values())


def test_example_of_the_documentation():
    outcome = doctest.testmod(pixel)
    assert outcome.attempted > 0
    assert outcome.failed == 0
