"""`ood-seg completion`: the script of bash is asked by bash itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ood_seg.commands import command_names, main

pytest.importorskip("shtab", reason="the extra `completion` is not installed")

ASK = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_shtab_ood_seg
complete -p ood-seg
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell, capsys) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.fixture
def completed(tmp_path, capsys):
    """A function that returns what bash completes, in a folder with one file `network.py`."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    path = tmp_path / "script"
    path.write_text(script("bash", capsys), encoding="utf-8")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "network.py").touch()

    def ask(*words: str) -> list[str]:
        done = subprocess.run(
            [bash, "-c", ASK, "bash", str(path), "ood-seg", *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path / "work",
        )
        registered, *found = done.stdout.split("\n")
        assert registered.endswith("_shtab_ood_seg ood-seg")
        return sorted(text for text in found if text)

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sug"], ["suggest-margins"]),
        (["test", "--launcher", "p"], ["pytorch"]),
        (["train", "--resu"], ["--resume", "--resume-schedule"]),
        (["test", "energy_fcn-erfnet_c"], ["energy_fcn-erfnet_cityscapes"]),
        (["infer", "--config", "energy_fcn-erfnet_c"], ["energy_fcn-erfnet_cityscapes"]),
        (["fit", "netw"], ["network.py"]),
        (["infer", "--calibration", "netw"], ["network.py"]),
        (["infer", "netw"], ["network.py"]),
        (["fit", "--ou"], []),
    ],
)
def test_bash(completed, words, expected):
    assert completed(*words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_the_configs_are_known(shell, capsys):
    text = script(shell, capsys)
    for name in [*command_names(), "energy_fcn-erfnet_cityscapes", "--json-summary"[2:]]:
        assert name in text, name
    assert "==SUPPRESS==" not in text


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["completion", "csh"])
    assert ending.value.code == 2
    assert "'fish'" in capsys.readouterr().err
