"""What `--help` prints: every example can be typed, and its page exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ood_seg.commands import command_names, main
from ood_seg.commands._parser import command_module, command_parser

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = [
    pytest.param(name, line, id=line)
    for name in command_names()
    for line in command_module(name).EXAMPLES
]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_examples_can_be_typed(name, line):
    assert len(line) <= 98, "a line of the help, indented by two"
    program, command, *arguments = shlex.split(re.split(" > |  # ", line)[0])
    assert (program, command) == ("ood-seg", name)
    command_parser(name, command_module(name)).parse_intermixed_args(arguments)


@pytest.mark.parametrize("name", command_names())
def test_help_ends_with_examples_and_a_page(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ending:
        main([name, "--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    module = command_module(name)
    assert text.splitlines()[0].startswith(f"usage: ood-seg {name}")
    _, _, end = text.partition("\nall commands:\n")
    assert "--debug" in end
    _, _, examples = end.partition("\nexamples:\n")
    *lines, blank, page = examples.splitlines()
    assert lines == [f"  {line}" for line in module.EXAMPLES]
    assert 1 < len(lines) < 4
    assert (blank, page) == ("", f"documentation: {module.PAGE}")
    assert f"ood-seg {name}" in (REPOSITORY / module.PAGE).read_text(encoding="utf-8")
