"""What travels in the wheel, and that the files around the package agree with it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ood_seg.commands import command_names

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this tree, built from a copy so that the tree stays as it is."""
    pytest.importorskip("build")
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("ood_seg", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_all_configs_and_modules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.py")}
    assert configs
    missing = {path.as_posix() for path in configs} - {
        name.removeprefix("ood_seg/_configs/") for name in names
    }
    assert not missing
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ood_seg").rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith(("tests", "configs", "tools")) for name in names)


def test_configs_resolve_from_the_unpacked_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "from ood_seg.config_files import config_root, shipped_configs\n"
        "print(config_root()); print(len(shipped_configs()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    root, count = done.stdout.split("\n")[:2]
    assert Path(root) == tmp_path / "ood_seg" / "_configs"
    leaves = [p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts]
    assert int(count) == len(leaves)


def test_every_tool_calls_its_subcommand():
    tools = sorted((ROOT / "tools").glob("*.py"))
    assert tools
    for tool in tools:
        tree = ast.parse(tool.read_text(encoding="utf-8"))
        names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert tool.stem.replace("_", "-") in names & set(command_names()), tool.name


def test_constraints_pin_every_dependency():
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower()] = version
    assert pinned["torch"] == "2.13.0"
    assert not any("+" in version for version in pinned.values())
    text = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r"^dependencies = \[(.*?)\]", text, re.S | re.M).group(1)
    for extra in ("mmseg", "export", "openvino", "serve", "bags", "dev"):
        wanted += re.search(rf"^{extra} = \[(.*?)\]", text, re.S | re.M).group(1)
    names = re.findall(r'"([A-Za-z0-9-]+)', wanted)
    assert len(names) > 10
    assert {name.lower() for name in names} <= set(pinned)


def test_ci_runs_what_a_person_runs():
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert "make lint" in text
    assert "make test" in text
