"""Shipped configs: found by name, listed, copied."""

from __future__ import annotations

import pytest

from ood_seg import config_files
from ood_seg.commands import main


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of configs that stands for the shipped one."""
    files = {
        "_base_/model.py": "width = 4\n",
        "energy/energy_net.py": '"""Energy on Net."""\n_base_ = ["../_base_/model.py"]\nlr = 1\n',
        "energy/twin.py": '"""One."""\n',
        "balanced/twin.py": '"""Two."""\n',
    }
    root = tmp_path / "shipped"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(config_files, "config_root", lambda: root)
    return root


@pytest.mark.parametrize(
    "name",
    ["energy_net", "energy_net.py", "energy/energy_net", "configs/energy/energy_net.py"],
)
def test_a_config_is_found_by_any_of_its_names(shipped, name):
    assert config_files.resolve_config(name) == shipped / "energy/energy_net.py"


def test_a_file_comes_before_a_shipped_config(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "energy_net").write_text("")
    assert config_files.resolve_config("energy_net").resolve() == tmp_path / "energy_net"


def test_unknown_name_suggests_the_nearest(shipped):
    with pytest.raises(FileNotFoundError, match=r"energy/energy_net"):
        config_files.resolve_config("enrgy_net.py")


def test_ambiguous_name_lists_all(shipped):
    with pytest.raises(ValueError, match=r"balanced/twin, energy/twin"):
        config_files.resolve_config("twin")
    assert config_files.resolve_config("balanced/twin") == shipped / "balanced/twin.py"


def test_bases_are_neither_listed_nor_found(shipped):
    assert list(config_files.shipped_configs()) == [
        "balanced/twin",
        "energy/energy_net",
        "energy/twin",
    ]
    with pytest.raises(FileNotFoundError):
        config_files.resolve_config("model")


def test_copy_still_finds_its_bases(shipped, tmp_path):
    config_class = pytest.importorskip("mmengine.config").Config
    target = tmp_path / "mine" / "deep" / "new.py"
    assert main(["configs", "--copy", "energy_net", str(target)]) == 0
    cfg = config_class.fromfile(target)
    assert (cfg.width, cfg.lr) == (4, 1)
    assert main(["configs", "--copy", "energy_net", str(target)]) == 2


def test_the_shipped_configs_are_listed_with_their_descriptions(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    shipped = config_files.shipped_configs()
    assert shipped, "no configs found"
    for name, path in shipped.items():
        assert config_files.summary(path), f"{name} has no docstring"
        assert config_files.resolve_config(name) == path
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, path in shipped.items():  # each whole in a line, ready to be copied
        assert lines[lines.index(name) + 1] == f"    {config_files.summary(path)}"


def test_words_select_configs_with_all_of_them_in_their_names(shipped, capsys):
    assert main(["configs", "TWIN", "balanced"]) == 0
    listed = capsys.readouterr().out
    assert "balanced/twin" in listed
    assert "energy/" not in listed
    assert main(["configs", "twin", "nonesuch"]) == 2
    assert "'twin' and 'nonesuch'" in capsys.readouterr().err
