"""ERFNet without fine-tuning gives the numbers that were measured independently."""

import json

import pytest

pytest.importorskip("mmseg")
from ood_seg.commands import main

# AUROC / AP / FPR95 in percent; images at 1024x512, logits resized to each mask's size.
MEASURED = {
    "max-softmax": {"road_anomaly": (60.671, 12.545, 82.376), "fs_static": (80.954, 4.174, 46.755)},
    "max-logit": {"road_anomaly": (68.624, 16.282, 74.322), "fs_static": (83.246, 4.806, 45.000)},
    "entropy": {"road_anomaly": (61.015, 12.895, 82.446), "fs_static": (81.601, 4.738, 46.812)},
    "energy": {"road_anomaly": (69.299, 17.044, 74.366), "fs_static": (83.385, 4.780, 44.986)},
}


@pytest.mark.slow
@pytest.mark.parametrize("score", MEASURED)
def test_erfnet_agrees_to_five_hundredths_of_a_point(score, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_SEG_DATA", str(real_data))
    arguments = ["test", f"{score}_fcn-erfnet_cityscapes", "--work-dir", str(tmp_path)]
    assert main([*arguments, "--sets", "road_anomaly", "fs_static"]) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    for name, expected in MEASURED[score].items():
        found = report["sets"][name]["metrics"]
        values = [found[f"anomaly/{metric}"] for metric in ("auroc", "ap", "fpr95")]
        assert values == pytest.approx(expected, abs=0.05), name
