"""The calibrations beside shipped configs fit these, and the documented command makes them all."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("mmseg")

from ood_seg.apis.calibrations import chosen_calibration, setup_of
from ood_seg.calibration import Calibration
from ood_seg.calibration.operating_points import needs_anomalies
from ood_seg.config_files import calibration_beside, load_config, shipped_configs
from ood_seg.io.provenance import file_sha256

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {
    name.rpartition("/")[2]: path
    for name, path in shipped_configs().items()
    if calibration_beside(path) is not None
}
MADE_BY = runpy.run_path(str(ROOT / "benchmarks" / "calibrations.py"))


def test_the_documented_command_makes_them():
    assert SHIPPED
    assert set(SHIPPED) == set(MADE_BY["CONFIGS"])
    files = {path.name for path in (ROOT / "configs").rglob("*.calibration.json")}
    assert files == {f"{name}.calibration.json" for name in SHIPPED}
    assert "benchmarks/calibrations.py make" in (ROOT / "docs/evaluation.md").read_text()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_calibration_is_that_of_its_config(name):
    cfg, made = load_config(SHIPPED[name]), Calibration.load(calibration_beside(SHIPPED[name]))
    assert made.score == cfg.model.energy_head.score.type
    assert made.model == Path(cfg.load_from).name
    assert len(bytes.fromhex(made.checkpoint_sha256)) == 32
    assert made.setup == setup_of(cfg)
    assert made.data_set == cfg.calibration_evaluator.dataset_name
    assert made.commit is None
    for point, one in made.operating_points.items():
        kind, share = point.rpartition(" ")[::2]
        if kind == "fpr":
            assert 0 < one.fpr <= float(share.rstrip("%")) / 100
        assert 0 <= one.tpr <= 1
        assert one.false_alarms_per_image >= 0
    assert next(iter(made.operating_points)) == "fpr 1%"
    assert any(map(needs_anomalies, made.operating_points))
    low, high = made.score_range
    assert 0 <= made.probability(low) < made.probability(high) <= 1


def test_no_evaluation_set_is_calibrated_on():
    for path in SHIPPED.values():
        cfg = load_config(path)
        folders = {part.data_root for part in cfg.calibration_dataloader.dataset.datasets}
        evaluated = {
            cfg.test_dataloader[name].dataset.data_root
            for name, metrics in cfg.test_evaluator.items()
            if any(metric["type"] == "AnomalyMetric" for metric in metrics)
        }
        assert not folders & evaluated


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_used_with_the_public_weights(name, real_data):
    cfg = load_config(SHIPPED[name])
    cfg.load_from = str(real_data / "weights" / Path(cfg.load_from).name)
    found, note = chosen_calibration(None, cfg, cfg.model.energy_head.score.type)
    assert found is not None, note
    assert found.checkpoint_sha256 == file_sha256(cfg.load_from)
