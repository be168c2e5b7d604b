"""`--json-summary`: one form for all commands, whatever their end."""

from __future__ import annotations

import json

import pytest

import ood_seg
from ood_seg.commands import main
from ood_seg.commands._parser import command_module
from ood_seg.commands._summary import Outcome


@pytest.fixture
def ending(monkeypatch):
    """Let the command `configs` end in a given way."""

    def set_end(end):
        def run(args):
            print("a line of the command")
            if isinstance(end, BaseException):
                raise end
            return end

        monkeypatch.setattr(command_module("configs"), "run", run)

    return set_end


def summary(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_fields(ending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = {"set": {"ap": 0.5, "nothing": float("nan")}}
    ending(Outcome(outputs=["a.txt"], numbers=numbers))
    assert main(["configs", "--json-summary", "end.json"]) == 0
    found = summary(tmp_path / "end.json")
    assert found.pop("seconds") >= 0
    commit = found.pop("commit")
    assert commit is None or len(commit) >= 40
    assert found == {
        "schema": "ood_seg.summary/1",
        "command": "configs",
        "status": "done",
        "exit_code": 0,
        "outputs": [str(tmp_path / "a.txt")],
        "numbers": {"set": {"ap": 0.5, "nothing": None}},
        "message": None,
        "version": ood_seg.__version__,
    }


@pytest.mark.parametrize(
    ("end", "code", "status", "message"),
    [
        (None, 0, "done", None),
        (1, 1, "incomplete", None),
        (FileNotFoundError("no file x"), 2, "refused", "no file x"),
        (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
        (Outcome(code=130), 130, "interrupted", None),
    ],
)
def test_ends(ending, tmp_path, end, code, status, message):
    ending(end)
    assert main(["configs", "--json-summary", str(tmp_path / "x.json")]) == code
    found = summary(tmp_path / "x.json")
    assert (found["status"], found["exit_code"], found["message"]) == (status, code, message)


def test_an_unexpected_error_is_in_the_summary_and_raised(ending, tmp_path):
    ending(KeyError("a bug"))
    with pytest.raises(KeyError):
        main(["configs", "--json-summary", str(tmp_path / "x.json")])
    found = summary(tmp_path / "x.json")
    assert (found["status"], found["message"]) == ("failed", "KeyError: 'a bug'")


def test_standard_output_holds_nothing_else(ending, capsys):
    ending(Outcome(numbers={"images": 3}))
    assert main(["configs", "--json-summary", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["numbers"] == {"images": 3}
    assert captured.err == "a line of the command\n"


def test_a_place_that_cannot_be_written_is_refused_before_the_run(ending, tmp_path, capsys):
    ending(AssertionError("was run"))
    assert main(["configs", "--json-summary", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_only_the_first_of_several_processes_writes(ending, tmp_path, monkeypatch):
    ending(0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, exists in (("1", False), ("0", True)):
        monkeypatch.setenv("RANK", rank)
        assert main(["configs", "--json-summary", str(tmp_path / "x.json")]) == 0
        assert (tmp_path / "x.json").exists() == exists


def test_files_of_real_commands(tmp_path):
    name, copied = "energy_fcn-erfnet_cityscapes", tmp_path / "mine.py"
    place = str(tmp_path / "end.json")
    assert main(["configs", "--copy", name, str(copied), "--json-summary", place]) == 0
    assert summary(tmp_path / "end.json")["outputs"] == [str(copied)]
    assert main(["configs", "--json-summary", place]) == 0
    assert summary(tmp_path / "end.json")["numbers"]["configs"] > 100
    code = main(["check-env", "--json-summary", place])
    assert (summary(tmp_path / "end.json")["numbers"]["problems"] > 0) == (code == 1)
