"""The README's snippets run, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ood_seg.commands import _parse, command_names
from ood_seg.config_files import resolve_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").rglob("*.md")]
README = PAGES[0].read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def snippet(word: str) -> str:
    (found,) = [text for text in SNIPPETS if word in text]
    return found


def test_core_snippet_runs(capsys):
    exec(snippet("balanced_energy_loss"), {})
    assert re.search(r"'auroc': 0\.\d+", capsys.readouterr().out)


def test_config_snippet_builds_and_feeds_the_inferencer(tmp_path):
    pytest.importorskip("mmseg")
    from ood_seg.startup import prepare

    prepare()
    from mmengine.config import Config

    path = tmp_path / "my_config.py"
    path.write_text(snippet("_base_"))
    cfg = Config.fromfile(path)
    assert cfg.model.type == "OODEncoderDecoder"
    assert cfg.model.decode_head.type == "DepthwiseSeparableASPPHead"
    assert cfg.model.energy_head.score.type == "Energy"


def test_commands_and_configs_exist():
    lines = re.findall(r"^ood-seg +(\S+) *(\S*)", README, re.MULTILINE)
    assert {command for command, _ in lines} <= set(command_names())
    named = [name for command, name in lines if command in ("train", "test")]
    assert named
    for name in [*named, *re.findall(r"--config (\S+)", README)]:
        resolve_config(name)
    for target in re.findall(r"^make (?:\S+=\S+ )?(\w+)", README, re.MULTILINE):
        makefile = Path(__file__).resolve().parents[1] / "Makefile"
        assert f"\n{target}:" in makefile.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_have_the_options_that_they_are_shown_with(page):
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace("$seed", "0"), comments=True)
            # An option alone: a comment has ended the command before it.
            assert not (words and words[0].startswith("-")), line
            if words[:1] == ["ood-seg"]:
                end = next((i for i, word in enumerate(words) if word in ("|", "&&", ">")), None)
                _parse(words[1], words[2:end])
