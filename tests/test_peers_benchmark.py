"""The comparison with other libraries: what is absent or broken is named, what agrees is shown."""

import importlib.util
import sys
from itertools import islice
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "peers.py"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("peers_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_absent_and_broken_libraries_are_named(peers, monkeypatch, capsys, tmp_path):
    (tmp_path / "torchmetrics.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchmetrics", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch_ood", None)  # as if not installed
    assert peers.available_peers() == {"sklearn"}
    error = capsys.readouterr().err
    assert "pytorch-ood is left out: ModuleNotFoundError" in error
    assert "torchmetrics is left out: RuntimeError: built for another torch" in error


def test_metrics_agree_with_scikit_learn(peers):
    (case,) = peers.metric_cases({"sklearn"}, small=True)
    assert peers.largest_difference(case.ours(), case.agree(case.theirs())) < 1e-5
    _, peer, ours, theirs, ratio, difference, _ = peers.row(case, repeats=1)
    assert peer == "scikit-learn"
    assert float(ours) > 0
    assert float(theirs) > 0
    assert float(ratio) > 0
    assert float(difference) < 1e-5


def test_a_case_that_fails_has_a_row(peers):
    case = peers.Case("a", "b", lambda: 1.0, lambda: 1 / 0)
    assert peers.row(case, repeats=1)[-1] == "failed: ZeroDivisionError: division by zero"


def test_without_peers_the_work_is_measured(peers):
    assert not list(peers.score_cases(set(), small=True))
    cases = list(islice(peers.work_cases(set(), small=True), 5))  # the others build a network
    assert [case.name for case in cases[:2]] == ["OE", "Meta-OoD"]
    assert cases[4].name == "sample of 5000 of 2,000 rows"
    assert all(float(peers.row(case, repeats=1)[4]) > 0 for case in cases)


def test_the_table_is_replaced_between_its_marks(peers, tmp_path):
    page = tmp_path / "page.md"
    begin, end = peers.MARKS
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    row = ("a", "b", "1.0", "2.0", "0.5", "0", "")
    peers.replace_table(page, peers.table_of([row]).to_markdown())
    text = page.read_text()
    assert text.startswith(f"before\n{begin}\n\n| what |")
    assert "| a | b | 1.0 | 2.0 | 0.5 | 0 |" in text
    assert text.endswith(f"\n{end}\nafter\n")
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="expected"):
        peers.replace_table(page, "")
