"""The demo command, from nothing to its table and figure."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

pytest.importorskip("mmseg")
from mmengine.config import Config

from ood_seg.commands import main
from ood_seg.config_files import resolve_config
from ood_seg.demo.data import DemoDataSize
from ood_seg.demo.plan import FULL_PLAN, METHODS, PRETRAINING, TRAININGS, DemoPlan

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "quickstart.ipynb"
ANOMALY_SETS = ("road_anomaly", "fishyscapes")


@pytest.fixture(scope="module")
def fast_demo(tmp_path_factory) -> Path:
    """Output folder of one run of the fast demo."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--fast", "--out", str(out), "--debug"]) == 0
    return out


def read_results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())["results"]


def test_fast_demo_raises_the_average_precision(fast_demo):
    results = read_results(fast_demo)
    assert list(results) == [method.folder for method in METHODS]
    for name in ANOMALY_SETS:
        before = results["pretrain_energy"][f"{name}/anomaly/ap"]
        for step in ("energy_oe", "balanced_energy"):
            assert results[f"{step}_energy"][f"{name}/anomaly/ap"] > before


def test_fast_demo_writes_table_figure_and_prior(fast_demo):
    out = fast_demo
    figure, strip = ((out / name).stat().st_size for name in ("figure.png", "strip.png"))
    assert figure > 10_000
    assert 10_000 < strip < min(250_000, figure / 2)
    table = (out / "table.md").read_text()
    assert len([line for line in table.splitlines() if line.startswith("|")]) == 2 + len(METHODS)
    assert (out / "balanced_energy" / "outlier_prior.json").is_file()
    content = json.loads((out / "results.json").read_text())
    assert set(content["seconds"]) == {"draw", *TRAININGS, *(f"test {m.folder}" for m in METHODS)}


def test_a_finished_demo_is_shown_again_but_not_repeated(fast_demo, capsys):
    weights, results = sorted(fast_demo.glob("*/iter_*.pth")), read_results(fast_demo)
    assert len(weights) == len(TRAININGS)
    written = [path.stat().st_mtime_ns for path in weights]
    assert main(["demo", "--fast", "--out", str(fast_demo), "--debug"]) == 0
    assert "balanced EnergyOE" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in weights] == written
    assert read_results(fast_demo) == results


def test_the_quick_start_notebook_runs_on_its_output(fast_demo, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("OOD_SEG_DEMO", str(fast_demo))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # stored without outputs
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert "unknown objects" in text
    shown = [output.data for output in outputs if "data" in output]
    metrics = [
        ast.literal_eval(one["text/plain"]) for one in shown if "'auroc'" in one["text/plain"]
    ]
    assert len(metrics) == 1
    assert 50 < metrics[0]["auroc"] <= 100
    assert sum("image/png" in one for one in shown) == 2  # results show themselves
    assert (tmp_path / "calibration.json").is_file()


def test_a_foreign_folder_is_refused(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    assert main(["demo", "--fast", "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "data") in capsys.readouterr().err
    assert (tmp_path / "data" / "thesis.txt").is_file()


def test_a_negative_seed_is_refused(tmp_path, capsys):
    assert main(["demo", "--seed", "-1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "seed" in error
    assert "-1" in error


@pytest.mark.parametrize("step", TRAININGS)
def test_configs_get_the_folder_and_the_sizes_of_the_plan(step, tmp_path):
    from ood_seg.demo.running import checkpoint_path, load_demo_config

    size = DemoDataSize(height=80, width=200)
    plan = DemoPlan(data=size, pretraining=7, fine_tuning=5, prior_images=3)
    cfg = load_demo_config(step, tmp_path, plan, seed=4)
    assert "OOD_SEG_DEMO" not in os.environ
    assert cfg.train_dataloader.dataset.dataset.data_root == f"{tmp_path}/data/cityscapes"
    assert cfg.randomness.seed == 4
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == plan.iterations(step)
    if step != PRETRAINING:
        assert cfg.load_from == str(checkpoint_path(PRETRAINING, tmp_path, plan))
        assert cfg.load_from.endswith("pretrain/iter_7.pth")
    steps = {one.type: one for one in cfg.train_dataloader.dataset.dataset.pipeline}
    assert steps["RandomResize"].scale == (200, 80)
    assert steps["RandomCrop"].crop_size == (80, 80)
    assert ("PasteOutliers" in steps) == (step != PRETRAINING)
    if "PasteOutliers" in steps:
        assert steps["PasteOutliers"].size_range == (7, 30)
    full = load_demo_config(step, tmp_path, FULL_PLAN, seed=0)
    shipped = Config.fromfile(resolve_config(TRAININGS[step]))
    assert full.train_cfg.max_iters == shipped.train_cfg.max_iters > 100
    sizes = [
        {key: one.get(key) for key in ("scale", "crop_size", "size_range")}
        for cfg in (full, shipped)
        for one in cfg.train_dataloader.dataset.dataset.pipeline
    ]
    assert sizes[: len(sizes) // 2] == sizes[len(sizes) // 2 :]
