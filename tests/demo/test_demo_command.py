"""The demo command, from nothing to its table and figure."""

from __future__ import annotations

import json
import os

import pytest

pytest.importorskip("mmseg")

from ood_seg.commands import main
from ood_seg.demo.plan import FULL_PLAN, PRETRAINING, TRAININGS, DemoPlan

ANOMALY_SETS = ("road_anomaly", "fishyscapes")


def test_fast_demo_raises_the_average_precision_and_is_not_repeated(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--fast", "--out", str(out), "--debug"]) == 0
    shown = capsys.readouterr().out
    assert "balanced EnergyOE" in shown
    results = json.loads((out / "results.json").read_text())["results"]
    for name in ANOMALY_SETS:
        before = results["pretrain_energy"][f"{name}/anomaly/ap"]
        for step in ("energy_oe", "balanced_energy"):
            assert results[f"{step}_energy"][f"{name}/anomaly/ap"] > before
    assert (out / "figure.png").stat().st_size > 10_000
    assert 10_000 < (out / "strip.png").stat().st_size < (out / "figure.png").stat().st_size / 4
    assert (out / "table.md").read_text().count("\n") == 8
    assert (out / "balanced_energy" / "outlier_prior.json").is_file()

    weights = sorted(out.glob("*/iter_*.pth"))
    assert len(weights) == len(TRAININGS)
    written = [path.stat().st_mtime_ns for path in weights]
    assert main(["demo", "--fast", "--out", str(out), "--debug"]) == 0
    assert [path.stat().st_mtime_ns for path in weights] == written
    assert json.loads((out / "results.json").read_text())["results"] == results


def test_a_foreign_folder_is_refused(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    assert main(["demo", "--fast", "--out", str(tmp_path)]) == 2
    assert "holds no demo data" in capsys.readouterr().err
    assert (tmp_path / "data" / "thesis.txt").is_file()


def test_a_negative_seed_is_refused(tmp_path, capsys):
    assert main(["demo", "--seed", "-1", "--out", str(tmp_path)]) == 2
    assert "--seed" in capsys.readouterr().err


@pytest.mark.parametrize("step", TRAININGS)
def test_configs_are_put_below_the_folder_and_shortened(step, tmp_path):
    from ood_seg.demo.running import checkpoint_path, load_demo_config

    plan = DemoPlan(pretraining=7, fine_tuning=5, prior_images=3)
    cfg = load_demo_config(step, tmp_path, plan, seed=4)
    assert "OOD_SEG_DEMO" not in os.environ
    assert cfg.train_dataloader.dataset.dataset.data_root == f"{tmp_path}/data/cityscapes"
    assert cfg.randomness.seed == 4
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == plan.iterations(step)
    if step != PRETRAINING:
        assert cfg.load_from == str(checkpoint_path(PRETRAINING, tmp_path, plan, 4))
        assert cfg.load_from.endswith("pretrain/iter_7.pth")
    untouched = load_demo_config(step, tmp_path, FULL_PLAN, seed=0)
    assert untouched.train_cfg.max_iters > 100
