"""The benchmark of the scores compares equal computations, and fills its tables."""

import importlib.util
from argparse import Namespace
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("scores_benchmark", FOLDER / "scores.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options():
    return Namespace(classes=4, size=[24, 32], ratio=4, repeats=1, device="cpu")


def test_both_forms_give_the_same(benchmark, options):
    timed = benchmark.measure_times(options)
    assert list(timed["seconds"]) == list(benchmark.SCORES)
    for name, difference in timed["differences"].items():
        assert difference["labels"] == 0, name
        assert difference["scores"] <= 1e-5, name


def test_every_score_has_a_row(benchmark, options, capsys):
    timed = benchmark.measure_times(options)
    assert benchmark.measure_memory(options, "Energy", "blocks") >= 0
    parts = [f"{score}-{form}" for score in benchmark.SCORES for form in benchmark.FORMS]
    benchmark.print_table(benchmark.full_resolution_rows(timed, dict.fromkeys(parts, 1.0)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == list(benchmark.SCORES.values())


def test_the_segmentors_differ_only_in_their_scores(benchmark):
    pytest.importorskip("mmseg")
    import ood_seg.register  # noqa: F401

    models, _ = benchmark.make_segmentors()
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        samples = {name: model.predict(images)[0] for name, model in models.items()}
    for name, sample in samples.items():
        labels = sample.pred_sem_seg.data.long()
        assert torch.equal(labels, samples["plain"].pred_sem_seg.data), name
        assert ("pred_anomaly" in sample) == (name != "plain")
        assert ("seg_logits" in sample) == (name in ("plain", "logits"))
    torch.testing.assert_close(
        samples["fused"].pred_anomaly.data, samples["logits"].pred_anomaly.data
    )
    rows = benchmark.segmentor_rows({"plain": 2.0, "logits": 2.2, "fused_labels": 1, "fused": 1})
    assert [row[-1] for row in rows[1:]] == ["+0.0%", "+10.0%", "-50.0%", "-50.0%"]
