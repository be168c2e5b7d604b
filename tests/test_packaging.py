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
import tomllib

from ood_seg import environment
from ood_seg.commands import _errors, command_names

ROOT = Path(__file__).resolve().parents[1]
PROJECT_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source archive of a copy, so that the tree stays as it is."""
    pytest.importorskip("build")
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("ood_seg", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_all_configs_modules_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [*(ROOT / "configs").rglob("*.py"), *(ROOT / "configs").rglob("*.json")]
    configs = {path.relative_to(ROOT / "configs") for path in files}
    assert configs
    missing = {path.as_posix() for path in configs} - {
        name.removeprefix("ood_seg/_configs/") for name in names
    }
    assert not missing
    ends = {".py", ".html", ".j2", ".css", ".js"}
    files = {path for path in (ROOT / "ood_seg").rglob("*") if path.suffix in ends}
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    assert not any(name.startswith(("tests", "configs", "tools")) for name in names)


def test_wheel_holds_its_licence_and_types(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    assert "\nLicense-Expression: Apache-2.0\n" in text
    for name in ("LICENSE", "NOTICE"):
        assert f"\nLicense-File: {name}\n" in text
        inside = archive.read(metadata.replace("METADATA", f"licenses/{name}"))
        assert inside == (ROOT / name).read_bytes()
    assert "ood_seg/py.typed" in archive.namelist()


def test_bare_package_needs_numpy_and_opencv_alone():
    project = _project()
    assert {_name(text) for text in project["dependencies"]} == {"numpy", "opencv-python"}


def test_every_extra_that_a_message_names_exists_and_brings_the_library():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    distributions = {
        "PIL": "pillow",
        "multipart": "python-multipart",
        "skimage": "scikit-image",
        **environment.MAINTAINED,
    }
    for library, extra in _errors._EXTRAS.items():
        name = distributions.get(library, library).replace("_", "-").lower()
        assert name in _brought(extra, extras), library
    for name, (_, extra) in environment.OPTIONAL.items():
        assert name in _brought(extra, extras), name
    assert _brought("all", extras) >= {_name(text) for text in extras["serve"]} - {"ood-seg"}
    assert not _brought("deploy", extras) & {"torch", "onedl-mmengine"}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9-]+", requirement).group().lower()


def _brought(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """Distributions that an extra installs, through the other extras that it names."""
    found = set()
    for requirement in extras[extra]:
        if _name(requirement) == "ood-seg":
            named = re.search(r"\[(.*)\]", requirement).group(1).split(",")
            found |= set().union(*(_brought(other, extras) for other in named))
        else:
            found.add(_name(requirement))
    return found


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
    project = _project()
    extras = project["optional-dependencies"]
    wanted = {_name(text) for text in project["dependencies"]}
    wanted |= set().union(*(_brought(extra, extras) for extra in extras if extra != "openmmlab"))
    assert len(wanted) > 20
    assert wanted <= {name.replace("_", "-") for name in pinned}


def test_ci_runs_what_a_person_runs():
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert "make lint" in text
    assert "make test" in text
