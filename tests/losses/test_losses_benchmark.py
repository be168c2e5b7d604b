"""The benchmark compares equal computations, and fills its table."""

import importlib.util
from argparse import Namespace
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("losses_benchmark", FOLDER / "losses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options():
    return Namespace(batch=2, size=24, outliers=0.05, repeats=1, device="cpu", part=None)


def test_all_forms_of_a_loss_give_one_value_and_gradient(benchmark, options):
    logits, labels = benchmark.make_data(options)
    results = {}
    for name, method in benchmark.make_methods().items():
        value = method(logits, labels)
        results[name] = (value, *torch.autograd.grad(value, logits))
    for ours, other in (("energy", "energy_autograd"), ("balanced", "direct"), ("joint", "parts")):
        torch.testing.assert_close(results[ours], results[other], rtol=1e-4, atol=1e-7)
    assert results["balanced"][0] > results["energy"][0]


def test_every_method_has_a_row(benchmark, options, capsys):
    seconds = benchmark.measure_times(options)["seconds"]
    options.part = "joint"
    assert benchmark.measure_memory(options) >= 0
    benchmark.print_table(seconds, dict.fromkeys(benchmark.METHODS, 1.0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == list(benchmark.METHODS.values())
