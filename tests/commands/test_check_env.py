"""`ood-seg check-env`: the diagnosis of made-up installations, and the report on this one."""

from __future__ import annotations

import sys

import pytest

from ood_seg import environment
from ood_seg.commands import main
from ood_seg.environment import Facts, diagnose, import_errors, report_lines

MAINTAINED = {"onedl-mmengine": "0.10.12", "onedl-mmcv": "2.3.6", "onedl-mmsegmentation": "1.4.2"}
ORIGINAL = {
    "mmengine": "0.10.7",
    "mmcv": "2.1.0",
    "mmsegmentation": "1.2.2",
    "ftfy": "6.3",
    "regex": "2026.1",
}


def problems(installed, **facts):
    found = diagnose(Facts({"torch": "2.13.0+cpu", "numpy": "2.4.6", **installed}, **facts))
    return [finding for finding in found if finding.is_problem]


def lite(version: str) -> dict[str, str]:
    rest = {name: number for name, number in ORIGINAL.items() if name != "mmcv"}
    return {**rest, "mmcv-lite": version}


def test_both_whole_families_are_fine():
    assert problems(MAINTAINED) == []
    assert problems(ORIGINAL, has_operators=True) == []
    assert problems(lite("2.1.0")) == []


def test_mixed_families_are_uninstalled_together():
    (found,) = problems({**MAINTAINED, "mmengine": "0.10.7"})
    assert "mmengine 0.10.7" in found.text
    assert "onedl-mmengine 0.10.12" in found.text
    assert found.remedy == (
        "pip uninstall -y onedl-mmengine onedl-mmcv onedl-mmsegmentation mmengine "
        f"&& {environment._INSTALL}"
    )


def test_half_installed_families_name_the_missing_part():
    (found,) = problems({k: v for k, v in MAINTAINED.items() if k != "onedl-mmcv"})
    assert found.remedy == "pip install 'onedl-mmcv'"
    (found,) = problems({"mmengine": "0.10.7", **{k: ORIGINAL[k] for k in ("ftfy", "regex")}})
    assert found.remedy == "pip install 'mmsegmentation' 'mmcv>=2.0,<2.2'"
    (found,) = problems({})
    assert found.remedy == environment._INSTALL


def test_a_machine_for_exported_models_alone_is_complete():
    (note,) = diagnose(Facts({"numpy": "2.4.6", "onnxruntime": "1.32.0"}))
    assert not note.is_problem
    assert "exported models run without them" in note.text
    (found,) = diagnose(Facts({"numpy": "2.4.6"}))
    assert found.is_problem
    assert found.text == "torch and mmsegmentation are not installed"
    assert found.remedy.startswith("pip install 'ood-seg[mmseg]'")
    assert "'ood-seg[deploy]'" in found.remedy


def test_mmcv_that_mmsegmentation_refuses():
    (found,) = problems(lite("2.2.0"))
    assert "mmsegmentation 1.2.2 refuses mmcv-lite 2.2.0" in found.text
    assert found.remedy == "pip install 'mmcv-lite>=2.1,<2.2'"


def test_mmcv_without_operators():
    (found,) = problems(ORIGINAL, has_operators=False)
    assert "mmcv._ext" in found.text
    assert "--force-reinstall" in found.remedy
    notes = diagnose(Facts({"torch": "2.13.0", **lite("2.1.0")}))
    assert [note.is_problem for note in notes] == [False]
    assert "stub" in notes[0].text


def test_undeclared_needs_of_mmsegmentation():
    without = {k: v for k, v in ORIGINAL.items() if k not in ("ftfy", "regex")}
    (found,) = problems(without, has_operators=True)
    assert found.remedy == "pip install ftfy regex"


def test_two_mmcv_at_once():
    (found,) = problems({**ORIGINAL, "mmcv-lite": "2.1.0"}, has_operators=True)
    assert found.remedy.startswith("pip uninstall -y mmcv mmcv-lite")


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torchvision", "pip uninstall -y torchvision"),
        ("mmcv", "pip install --force-reinstall --no-deps onedl-mmcv==2.3.6"),
        ("torch", "pip install --force-reinstall --no-deps torch==2.13.0"),
    ],
)
def test_what_does_not_import_has_a_remedy(module, remedy):
    (found,) = problems(MAINTAINED, import_errors={module: "RuntimeError: broken"})
    assert found.text == f"{module} does not import: RuntimeError: broken"
    assert found.remedy == remedy


def test_old_versions_are_problems():
    assert "Python 3.9" in problems(MAINTAINED, python=(3, 9))[0].text
    (found,) = problems({**MAINTAINED, "torch": "2.3.1"})
    assert found.remedy == "pip install 'torch>=2.4'"


def test_imports_are_tried_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "breaks_at_import.py").write_text("raise RuntimeError('operator missing')")
    (tmp_path / "ends_process.py").write_text("import os; os._exit(7)")
    (tmp_path / "needs_other.py").write_text("import not_there_at_all")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ["json", "absent_module", "breaks_at_import", "needs_other", "ends_process", "os"]
    assert import_errors(names) == {
        "breaks_at_import": "RuntimeError: operator missing",
        "needs_other": "ModuleNotFoundError: No module named 'not_there_at_all'",
        "ends_process": "the interpreter ended with code 7",
    }
    assert "breaks_at_import" not in sys.modules


def test_report_and_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(environment, "gather", lambda: Facts({**MAINTAINED, "torch": "2.13.0"}))
    assert main(["check-env"]) == 0
    output = capsys.readouterr().out
    assert "no problems" in output
    assert "cpu (" in output
    monkeypatch.setattr(environment, "gather", lambda: Facts({"torch": "2.13.0"}))
    assert main(["check-env"]) == 1
    assert f"repair: {environment._INSTALL}" in capsys.readouterr().out


def test_optional_parts_are_shown_with_what_installs_them():
    lines = dict(report_lines(Facts({"onnxruntime": "1.32.0"})))
    assert lines["onnxruntime"] == "1.32.0"
    assert lines["rosbags"] == (
        "not installed (optional, for ROS 2 bags: pip install 'ood-seg[bags]')"
    )
