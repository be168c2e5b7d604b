"""Steps that are finished are recognised; the table shows every method."""

from __future__ import annotations

import io

import pytest

from ood_seg.demo.data import DemoDataSize
from ood_seg.demo.plan import DONE, FAST_PLAN, FULL_PLAN, METHODS, DemoPlan, read_done, write_done
from ood_seg.demo.report import results_table, terminal_table


def test_a_finished_step_is_read_back(tmp_path):
    assert read_done(tmp_path, {"seed": 0}) is None
    write_done(tmp_path / "step", {"seed": 0}, {"ap": 12.5})
    assert read_done(tmp_path / "step", {"seed": 0}) == {"ap": 12.5}
    assert read_done(tmp_path / "step", {"seed": 1}) is None
    assert [path.name for path in (tmp_path / "step").iterdir()] == [DONE]


def test_a_truncated_mark_counts_as_unfinished(tmp_path):
    write_done(tmp_path, {"seed": 0}, {})
    (tmp_path / DONE).write_text((tmp_path / DONE).read_text()[:-9])
    assert read_done(tmp_path, {"seed": 0}) is None


def test_the_fingerprint_survives_json_and_distinguishes_plans(tmp_path):
    fingerprint = FULL_PLAN.fingerprint(3)
    write_done(tmp_path, fingerprint, {"x": 1})
    assert read_done(tmp_path, DemoPlan().fingerprint(3)) == {"x": 1}
    others = (FULL_PLAN.fingerprint(4), FAST_PLAN.fingerprint(3))
    others += (DemoPlan(data=DemoDataSize(train=1)).fingerprint(3),)
    assert all(read_done(tmp_path, other) is None for other in others)


@pytest.fixture
def results() -> dict:
    sets = ("road_anomaly", "fishyscapes")
    return {
        method.folder: {
            **{f"{name}/anomaly/{key}": 10.0 * index for name in sets
               for key in ("auroc", "ap", "fpr95")},
            "cityscapes/mIoU": 50.04,
        }
        for index, method in enumerate(METHODS)
    }  # fmt: skip


def test_the_table_has_a_row_for_each_method(results):
    table = results_table(results)
    assert [row[0] for row in table.rows] == [method.name for method in METHODS]
    assert table.rows[1][2:] == ["10.0"] * 6 + ["50.0"]
    lines = [line for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert len(lines) == len(METHODS) + 2
    assert len({line.count("|") for line in lines}) == 1


def test_the_table_fits_a_terminal_of_80_columns(results):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(results_table(results)))
    lines = console.export_text().splitlines()
    for method in METHODS:
        assert any(method.name in line and method.score_name in line for line in lines)
    assert "…" not in "".join(lines)
